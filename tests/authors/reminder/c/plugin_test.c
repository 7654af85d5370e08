// Runs natively.
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "fakes.h"
#include "src/schedule.h"

static exports_os2mo_router_filter_list_publication_t publications;
static exports_os2mo_router_filter_failure_t failure;

static bool route(int64_t time) {
    exports_os2mo_router_filter_event_t event = {0};
    plugin_string_dup(&event.routing_key, "employee.engagement.create");
    plugin_string_dup(&event.uuid, "person");
    event.time.is_some = true;
    event.time.val.seconds = time;
    return exports_os2mo_router_filter_route(&event, &publications, &failure);
}

static void check(int64_t effective, const char *day, int64_t at) {
    reminder_t found = reminder(effective, 8);
    assert(strcmp(found.day, day) == 0 && found.at == at);
}

int main(void) {
    // Eight is an hour earlier in summer.
    check(1711839600, "2024-03-31", 1711782000);
    check(1711922400, "2024-04-01", 1711864800);
    check(1729980000, "2024-10-27", 1729922400);
    check(1730070000, "2024-10-28", 1730012400);

    fake_setting("message", "tomorrow");
    assert(route(1711922400) && publications.len == 1);
    const char *body = "{\"effective\":\"2024-04-01\",\"message\":\"tomorrow\",\"uuid\":\"person\"}";
    plugin_list_u8_t found = publications.ptr->body.val;
    assert(found.len == strlen(body) && memcmp(found.ptr, body, found.len) == 0);
    assert(publications.ptr->due.val.at.seconds == 1711864800);

    assert(route(253402300799) && publications.len == 0);
    assert(strcmp(fake_logged(), "employee.engagement.create has no date") == 0);

    fake_setting("hour", "24");
    assert(!route(1711922400));
    return 0;
}

// Runs natively.
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "fakes.h"

// The number of publications for an event with this action.
static size_t route(const char *action) {
    exports_os2mo_router_filter_event_t event = {0};
    event.topic.action.is_some = true;
    plugin_string_dup(&event.topic.action.val, action);
    plugin_string_dup(&event.routing_key, "employee.address");
    exports_os2mo_router_filter_list_publication_t publications;
    exports_os2mo_router_filter_failure_t failure;
    assert(exports_os2mo_router_filter_route(&event, &publications, &failure));
    return publications.len;
}

int main(void) {
    assert(route("edit") == 1);
    assert(fake_logged() == NULL);
    assert(route("refresh") == 0);
    assert(strcmp(fake_logged(), "employee.address") == 0);

    fake_setting("skip", "edit terminate");
    assert(route("edit") == 0);
    assert(route("refresh") == 1);
    return 0;
}

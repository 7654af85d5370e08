// Runs natively.
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "fakes.h"

static bool is(plugin_string_t text, const char *expected) {
    return text.len == strlen(expected) && memcmp(text.ptr, expected, text.len) == 0;
}

static plugin_option_string_t some(const char *text) {
    plugin_option_string_t option = {.is_some = true};
    plugin_string_dup(&option.val, text);
    return option;
}

// route: the only publication for an event with this key; action may be NULL.
static exports_os2mo_router_filter_publication_t route(const char *key, const char *action) {
    exports_os2mo_router_filter_event_t event = {0};
    plugin_string_dup(&event.routing_key, key);
    if (action) {
        event.topic.action = some(action);
    }
    exports_os2mo_router_filter_list_publication_t publications;
    exports_os2mo_router_filter_failure_t failure;
    assert(exports_os2mo_router_filter_route(&event, &publications, &failure));
    assert(publications.len == 1);
    return publications.ptr[0];
}

int main(void) {
    exports_os2mo_router_filter_publication_t moved = route("employee.it.create", "create");
    assert(moved.routing_key.is_some);
    assert(is(moved.routing_key.val, "create.employee.it"));
    assert(!moved.body.is_some && moved.due.tag == OS2MO_ROUTER_TYPES_DUE_NOW);
    assert(fake_logged() == NULL);

    exports_os2mo_router_filter_publication_t forwarded = route("engagement", NULL);
    assert(!forwarded.routing_key.is_some);
    assert(strcmp(fake_logged(), "engagement") == 0);

    plugin_list_string_t patterns;
    exports_os2mo_router_filter_subscriptions(&patterns);
    assert(patterns.len == 1 && is(patterns.ptr[0], "#"));
    return 0;
}

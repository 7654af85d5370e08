// Forwards what happens to employees, but not what is only refreshed.
#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

static bool is(const plugin_option_string_t *text, const char *word) {
    return text->is_some && text->val.len == strlen(word) && memcmp(text->val.ptr, word, text->val.len) == 0;
}

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "employee.#");
}

// What is returned is the router's to free: it must come from malloc.
bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    (void)failure;
    publications->len = is(&event->topic.action, "refresh") ? 0 : 1;
    publications->ptr = calloc(1, sizeof *publications->ptr); // all zero: forward
    exports_os2mo_router_filter_event_free(event);
    return true;
}

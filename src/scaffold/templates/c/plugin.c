// Forwards what happens to employees, but not what is only refreshed.
#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

// The setting `[plugin.NAME] config.KEY`, or `otherwise` where it is not set.
static plugin_string_t setting(const char *key, const char *otherwise) {
    plugin_string_t name, value;
    plugin_option_string_t found;
    wasi_config_store_error_t error;
    plugin_string_set(&name, key);
    if (wasi_config_store_get(&name, &found, &error) && found.is_some) {
        return found.val;
    }
    plugin_string_dup(&value, otherwise);
    return value;
}

// Whether the text is one of the words of a list.
static bool has(const plugin_string_t *list, const plugin_string_t *text) {
    size_t start = 0;
    for (size_t at = 0; at <= list->len; at++) {
        if (at == list->len || list->ptr[at] == ' ') {
            if (at - start == text->len && !memcmp(list->ptr + start, text->ptr, text->len)) {
                return true;
            }
            start = at + 1;
        }
    }
    return false;
}

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "employee.#");
}

// What is returned is the router's to free: it must come from malloc. `config.skip` has the
// actions that are not forwarded.
bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    (void)failure;
    plugin_string_t skipped = setting("skip", "refresh"), context;
    bool skip = event->topic.action.is_some && has(&skipped, &event->topic.action.val);
    if (skip) {
        plugin_string_set(&context, "skipped");
        wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_DEBUG, &context, &event->routing_key);
    }
    publications->len = skip ? 0 : 1;
    publications->ptr = calloc(1, sizeof *publications->ptr); // all zero: forward
    plugin_string_free(&skipped);
    exports_os2mo_router_filter_event_free(event);
    return true;
}

// Routes by action: `employee.it.create` leaves as `create.employee.it`, so
// that whoever closes accounts needs one binding, `terminate.#`. Events without
// an action, MO's newer one-word keys, are forwarded as they are.
#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

// The routing key with its last word, the action, first.
static plugin_string_t action_first(plugin_string_t key, size_t action) {
    size_t rest = key.len - action - 1; // without the dot before the action
    plugin_string_t moved = {malloc(key.len), key.len};
    memcpy(moved.ptr, key.ptr + rest + 1, action);
    moved.ptr[action] = '.';
    memcpy(moved.ptr + action + 1, key.ptr, rest);
    return moved;
}

static void log_forwarded(plugin_string_t *key) {
    plugin_string_t context;
    plugin_string_set(&context, "no action in the routing key, forwarded");
    wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_DEBUG, &context, key);
}

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "#");
}

// What is returned is the router's to free: it must come from malloc.
bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    (void)failure;
    publications->len = 1;
    publications->ptr = calloc(1, sizeof *publications->ptr); // all zero: forward
    if (event->topic.action.is_some) {
        publications->ptr->routing_key.is_some = true;
        publications->ptr->routing_key.val = action_first(event->routing_key, event->topic.action.val.len);
    } else {
        log_forwarded(&event->routing_key);
    }
    exports_os2mo_router_filter_event_free(event);
    return true;
}

#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "employee.#");
}

static int by_key(const void *one, const void *other) {
    const plugin_tuple2_string_string_t *a = one, *b = other;
    size_t shared = a->f0.len < b->f0.len ? a->f0.len : b->f0.len;
    int order = memcmp(a->f0.ptr, b->f0.ptr, shared);
    return order ? order : (a->f0.len > b->f0.len) - (a->f0.len < b->f0.len);
}

bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    (void)failure;
    exports_os2mo_router_filter_event_free(event);
    plugin_list_tuple2_string_string_t all;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get_all(&all, &error)) {
        abort();
    }
    if (all.len > 0) {
        qsort(all.ptr, all.len, sizeof *all.ptr, by_key);
    }
    publications->len = 0;
    publications->ptr = calloc(all.len + 1, sizeof *publications->ptr);
    for (size_t at = 0; at < all.len; at++) {
        plugin_tuple2_string_string_t *setting = &all.ptr[at];
        if (setting->f0.len >= 5 && !memcmp(setting->f0.ptr, "copy-", 5)) {
            plugin_option_string_t *key = &publications->ptr[publications->len++].routing_key;
            key->is_some = true;
            plugin_string_dup_n(&key->val, (char *)setting->f1.ptr, setting->f1.len);
        }
    }
    plugin_list_tuple2_string_string_free(&all);
    return true;
}

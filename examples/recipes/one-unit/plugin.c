#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

// Whether this is the unit of the setting [plugin.NAME] config.unit.
static bool is_the_unit(const plugin_string_t *uuid) {
    plugin_string_t key;
    plugin_option_string_t unit;
    wasi_config_store_error_t error;
    plugin_string_set(&key, "unit");
    if (!wasi_config_store_get(&key, &unit, &error) || !unit.is_some)
        return false;
    bool same = unit.val.len == uuid->len && memcmp(unit.val.ptr, uuid->ptr, uuid->len) == 0;
    plugin_option_string_free(&unit);
    return same;
}

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 2;
    patterns->ptr = calloc(2, sizeof *patterns->ptr);
    plugin_string_dup(&patterns->ptr[0], "org_unit.*.*");
    plugin_string_dup(&patterns->ptr[1], "org_unit");
}

bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    (void)failure;
    publications->len = is_the_unit(&event->uuid) ? 1 : 0;
    publications->ptr = calloc(1, sizeof *publications->ptr); // all zero: forward
    exports_os2mo_router_filter_event_free(event);
    return true;
}

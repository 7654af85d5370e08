#include "headers.h"

static plugin_option_string_t some(const char *text) {
    plugin_option_string_t option = {.is_some = true};
    plugin_string_dup(&option.val, text);
    return option;
}

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "employee.#");
}

bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    (void)failure;
    exports_os2mo_router_filter_publication_t *one = calloc(1, sizeof *one);
    publications->len = 1;
    publications->ptr = one;
    one->content_type = some("text/plain");
    one->content_encoding = some("");
    one->priority.is_some = true;
    one->priority.val = event->priority.val + 1;
    one->correlation_id = event->message_id;
    one->expiration = some("60000");
    one->timestamp.is_some = true;
    one->timestamp.val = event->timestamp.val + 1;
    one->type = some("event!");

    add_text_header(one, "text", "a");
    os2mo_router_types_value_t count = *header_of(event, "count");
    count.val.int32++;
    add_header(one, "count", count);
    add_header(one, "since", *header_of(event, "since"));

    // The queue in the first of the deaths.
    uint32_t death = header_of(event, "deaths")->val.list.ptr[0];
    plugin_list_tuple2_string_u32_t fields = event->nested.ptr[death].val.table;
    one->nested.len = 3;
    one->nested.ptr = calloc(3, sizeof *one->nested.ptr);
    for (size_t at = 0; at < fields.len; at++) {
        if (fields.ptr[at].f0.ptr[0] == 'q') {
            one->nested.ptr[0] = event->nested.ptr[fields.ptr[at].f1];
        }
    }
    one->nested.ptr[1].tag = OS2MO_ROUTER_TYPES_VALUE_TABLE;
    one->nested.ptr[1].val.table.len = 1;
    one->nested.ptr[1].val.table.ptr = calloc(1, sizeof *one->nested.ptr[1].val.table.ptr);
    plugin_string_dup(&one->nested.ptr[1].val.table.ptr->f0, "n");
    one->nested.ptr[1].val.table.ptr->f1 = 2;
    one->nested.ptr[2].tag = OS2MO_ROUTER_TYPES_VALUE_INT32;
    one->nested.ptr[2].val.int32 = 1;

    os2mo_router_types_value_t queues = {.tag = OS2MO_ROUTER_TYPES_VALUE_LIST};
    queues.val.list.len = 2;
    queues.val.list.ptr = calloc(2, sizeof *queues.val.list.ptr);
    queues.val.list.ptr[1] = 1;
    add_header(one, "queues", queues);
    return true;
}

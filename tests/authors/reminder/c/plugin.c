// Reminds of changes of engagements on the day before they take effect.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"
#include "src/schedule.h"
#include "src/yyjson.h"

// What MO sends for "no date".
static const int64_t NO_DATE = 253402300799;

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

// The hour that a text says, or -1.
static int hour_of(plugin_string_t text) {
    int hour = text.len && text.len <= 2 ? 0 : -1;
    for (size_t at = 0; hour >= 0 && at < text.len; at++) {
        hour = text.ptr[at] >= '0' && text.ptr[at] <= '9' ? hour * 10 + text.ptr[at] - '0' : -1;
    }
    return hour < 24 ? hour : -1;
}

static plugin_string_t printed(const char *format, plugin_string_t text) {
    char *whole = malloc(strlen(format) + text.len + 1);
    size_t length = sprintf(whole, format, (int)text.len, (char *)text.ptr);
    return (plugin_string_t){(uint8_t *)whole, length};
}

static void add(yyjson_mut_doc *document, const char *name, plugin_string_t text) {
    yyjson_mut_val *root = yyjson_mut_doc_get_root(document);
    yyjson_mut_obj_add_strncpy(document, root, name, (char *)text.ptr, text.len);
}

static plugin_list_u8_t body(const reminder_t *reminder, plugin_string_t uuid) {
    yyjson_mut_doc *document = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(document, yyjson_mut_obj(document));
    plugin_string_t day, message = setting("message", "A change takes effect tomorrow");
    plugin_string_set(&day, reminder->day);
    add(document, "effective", day);
    add(document, "message", message);
    add(document, "uuid", uuid);
    plugin_list_u8_t body;
    body.ptr = (uint8_t *)yyjson_mut_write(document, 0, &body.len);
    yyjson_mut_doc_free(document);
    plugin_string_free(&message);
    return body;
}

static plugin_string_t key(const reminder_t *reminder,
                           const exports_os2mo_router_filter_event_t *event) {
    plugin_string_t changed = event->object_uuid.is_some ? event->object_uuid.val : event->uuid;
    size_t room = event->routing_key.len + changed.len + sizeof reminder->day + 2;
    char *key = malloc(room);
    size_t length = snprintf(key, room, "%.*s %.*s %s", (int)event->routing_key.len,
                             (char *)event->routing_key.ptr, (int)changed.len, (char *)changed.ptr,
                             reminder->day);
    return (plugin_string_t){(uint8_t *)key, length};
}

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "employee.engagement.*");
}

static bool route(const exports_os2mo_router_filter_event_t *event, plugin_string_t hour,
                  exports_os2mo_router_filter_list_publication_t *publications,
                  exports_os2mo_router_filter_failure_t *failure) {
    if (hour_of(hour) < 0) {
        failure->tag = OS2MO_ROUTER_TYPES_FAILURE_REJECT;
        failure->val.reject = printed("config.hour is %.*s: an hour from 0 to 23 is needed", hour);
        return false;
    }
    publications->len = 0;
    publications->ptr = calloc(1, sizeof *publications->ptr);
    if (!event->time.is_some || event->time.val.seconds >= NO_DATE) {
        plugin_string_t context, line = printed("%.*s has no date", event->routing_key);
        plugin_string_set(&context, "route");
        wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_DEBUG, &context, &line);
        plugin_string_free(&line);
        return true;
    }
    reminder_t due = reminder(event->time.val.seconds, hour_of(hour));
    publications->len = 1;
    publications->ptr->routing_key.is_some = true;
    publications->ptr->routing_key.val = printed("reminder.%.*s", event->routing_key);
    publications->ptr->body.is_some = true;
    publications->ptr->body.val = body(&due, event->uuid);
    publications->ptr->due.tag = OS2MO_ROUTER_TYPES_DUE_AT;
    publications->ptr->due.val.at.seconds = due.at;
    publications->ptr->key.is_some = true;
    publications->ptr->key.val = key(&due, event);
    return true;
}

bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    plugin_string_t hour = setting("hour", "8");
    bool answered = route(event, hour, publications, failure);
    plugin_string_free(&hour);
    exports_os2mo_router_filter_event_free(event);
    return answered;
}

// Headers of events and publications, for plugins in C.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

// The value of a header of an event; NULL if it has none of that name.
static inline const os2mo_router_types_value_t *header_of(const exports_os2mo_router_filter_event_t *event,
                                                          const char *name) {
    for (size_t at = 0; at < event->headers.len; at++) {
        const plugin_string_t *own = &event->headers.ptr[at].f0;
        if (own->len == strlen(name) && memcmp(own->ptr, name, own->len) == 0) {
            return &event->headers.ptr[at].f1;
        }
    }
    return NULL;
}

// Adds a header to a publication. What `value` points to is the router's to free.
static inline void add_header(exports_os2mo_router_filter_publication_t *publication, const char *name,
                              os2mo_router_types_value_t value) {
    size_t at = publication->headers.len++;
    publication->headers.ptr =
        realloc(publication->headers.ptr, publication->headers.len * sizeof *publication->headers.ptr);
    plugin_string_dup(&publication->headers.ptr[at].f0, name);
    publication->headers.ptr[at].f1 = value;
}

// Adds a header whose value is text.
static inline void add_text_header(exports_os2mo_router_filter_publication_t *publication, const char *name,
                                   const char *text) {
    os2mo_router_types_value_t value = {.tag = OS2MO_ROUTER_TYPES_VALUE_TEXT};
    plugin_string_dup(&value.val.text, text);
    add_header(publication, name, value);
}

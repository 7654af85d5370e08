// The router's log, for plugins in C.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"
#include "utf8.h"

// Writes a line. Bytes that are no UTF-8, which the router would refuse, become U+FFFD.
static inline void log_line(wasi_logging_logging_level_t level, const char *text) {
    plugin_string_t context, line;
    plugin_string_set(&context, "plugin");
    line.len = strlen(text);
    line.ptr = utf8_of(text, &line.len);
    wasi_logging_logging_log(level, &context, &line);
    free(line.ptr);
}

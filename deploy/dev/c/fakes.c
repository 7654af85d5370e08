// Plays the router's part of bindings/plugin.c, in the same form: these are the functions that
// a plugin imports.
#include "fakes.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static struct {
    char *key, *value;
} settings[MOST];
static char *logged;
static wasi_logging_logging_level_t level;

static char *copy(const void *text, size_t length) {
    char *copied = malloc(length + 1);
    memcpy(copied, text, length);
    copied[length] = 0;
    return copied;
}

void fake_setting(const char *key, const char *value) {
    size_t at = 0;
    while (at < MOST && settings[at].key && strcmp(settings[at].key, key)) {
        at++;
    }
    if (at == MOST) {
        abort();
    }
    settings[at].key = copy(key, strlen(key));
    settings[at].value = value ? copy(value, strlen(value)) : NULL;
}

void fake_reset(void) {
    memset(settings, 0, sizeof settings);
    logged = NULL;
}

const char *fake_logged(void) { return logged; }

wasi_logging_logging_level_t fake_logged_level(void) { return level; }

void __wasm_import_wasi_logging_logging_log(int32_t at, uint8_t *context, size_t context_length, uint8_t *message,
                                            size_t length) {
    (void)context, (void)context_length;
    level = (wasi_logging_logging_level_t)at;
    logged = copy(message, length);
}

void __wasm_import_wasi_config_store_get(uint8_t *key, size_t length, uint8_t *result) {
    memset(result, 0, 4 * sizeof(void *));
    for (size_t at = 0; at < MOST && settings[at].key; at++) {
        if (settings[at].value && strlen(settings[at].key) == length && !memcmp(settings[at].key, key, length)) {
            size_t size = strlen(settings[at].value);
            result[sizeof(void *)] = 1;
            *(char **)(result + 2 * sizeof(void *)) = copy(settings[at].value, size);
            *(size_t *)(result + 3 * sizeof(void *)) = size;
        }
    }
}

void __wasm_import_wasi_config_store_get_all(uint8_t *result) {
    plugin_tuple2_string_string_t *all = calloc(MOST, sizeof *all);
    size_t count = 0;
    for (size_t at = 0; at < MOST && settings[at].key; at++) {
        if (settings[at].value) {
            plugin_string_dup(&all[count].f0, settings[at].key);
            plugin_string_dup(&all[count].f1, settings[at].value);
            count++;
        }
    }
    memset(result, 0, 4 * sizeof(void *));
    *(plugin_tuple2_string_string_t **)(result + sizeof(void *)) = all;
    *(size_t *)(result + 2 * sizeof(void *)) = count;
}

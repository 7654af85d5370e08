// Text as the router takes it, which is UTF-8.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// How many bytes the character has that begins here; 0 if none does.
static inline size_t utf8_character(const uint8_t *at, size_t left) {
    uint8_t first = at[0];
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length > left) {
        return 0;
    }
    for (size_t more = 1; more < length; more++) {
        if ((at[more] & 0xC0) != 0x80) {
            return 0;
        }
    }
    // Written longer than needed, half of a pair, or beyond the last one.
    if ((first == 0xE0 && at[1] < 0xA0) || (first == 0xED && at[1] > 0x9F) || (first == 0xF0 && at[1] < 0x90) ||
        (first == 0xF4 && at[1] > 0x8F)) {
        return 0;
    }
    return length;
}

// The text in UTF-8, from malloc: bytes that are none become U+FFFD. `length` becomes the new one.
static inline uint8_t *utf8_of(const void *text, size_t *length) {
    const uint8_t *from = (const uint8_t *)text, *end = from + *length;
    uint8_t *to = (uint8_t *)malloc(3 * *length + 1);
    size_t size = 0;
    if (!to) {
        abort();
    }
    while (from < end) {
        size_t character = utf8_character(from, (size_t)(end - from));
        memcpy(to + size, character ? (const char *)from : "\xEF\xBF\xBD", character ? character : 3);
        size += character ? character : 3;
        from += character ? character : 1;
    }
    *length = size;
    return to;
}

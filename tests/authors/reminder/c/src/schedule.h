// When to remind of a change.
#pragma once
#include <stdint.h>

typedef struct {
    // The day on which it takes effect in Denmark: 2024-03-31.
    char day[16];
    // An hour of the day before, in seconds since 1970.
    int64_t at;
} reminder_t;

reminder_t reminder(int64_t effective, int hour);

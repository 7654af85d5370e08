// When to remind of a change.
#pragma once
#include <cstdint>
#include <string>

struct Reminder {
    // The day on which it takes effect in Denmark: 2024-03-31.
    std::string day;
    // An hour of the day before, in seconds since 1970.
    std::int64_t at;
};

Reminder reminder(std::int64_t effective, int hour);

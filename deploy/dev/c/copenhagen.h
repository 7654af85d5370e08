// The time of day in Denmark. The C library of WebAssembly has no time zones: its localtime
// answers in UTC.
#pragma once
#include <stdint.h>

// The days since 1970-01-01 of a date of the Gregorian calendar.
static inline int64_t days_of(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

// The year that a day is in.
static inline int64_t year_of(int64_t days) {
    int64_t year = 1970 + days / 366;
    while (days_of(year + 1, 1, 1) <= days) {
        year++;
    }
    while (days_of(year, 1, 1) > days) {
        year--;
    }
    return year;
}

// The day of a month's last Sunday.
static inline int64_t last_sunday(int64_t year, int month, int days) {
    int64_t last = days_of(year, month, days);
    return last - ((last + 4) % 7 + 7) % 7; // 1970-01-01 was a Thursday
}

// How many seconds Danish time is ahead of UTC at a time, in seconds since 1970: two hours
// between the last Sundays of March and October, 01:00 UTC, and one hour otherwise. That is
// the law since 1996.
static inline int copenhagen_offset(int64_t seconds) {
    int64_t days = seconds / 86400 - (seconds % 86400 < 0);
    int64_t year = year_of(days);
    int64_t begin = last_sunday(year, 3, 31) * 86400 + 3600;
    int64_t end = last_sunday(year, 10, 31) * 86400 + 3600;
    return begin <= seconds && seconds < end ? 7200 : 3600;
}

// When it is this time of day in Denmark on this day since 1970-01-01, in seconds since 1970.
static inline int64_t copenhagen_time(int64_t day, int hour, int minute) {
    int64_t local = day * 86400 + hour * 3600 + minute * 60;
    return local - copenhagen_offset(local - copenhagen_offset(local - 3600));
}

#include "schedule.h"

#include <time.h>

#include "copenhagen.h"

reminder_t reminder(int64_t effective, int hour) {
    int64_t local = effective + copenhagen_offset(effective);
    int64_t day = local / 86400 - (local % 86400 < 0);
    reminder_t reminder = {.at = copenhagen_time(day - 1, hour, 0)};
    time_t midnight = day * 86400;
    strftime(reminder.day, sizeof reminder.day, "%Y-%m-%d", gmtime(&midnight));
    return reminder;
}

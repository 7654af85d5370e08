#include "schedule.h"

#include <chrono>
#include <format>

#include "copenhagen.h"

Reminder reminder(std::int64_t effective, int hour) {
    using namespace std::chrono;
    seconds local(effective + copenhagen_offset(effective));
    auto day = sys_days(floor<days>(local));
    year_month_day date(day);
    std::string shown = std::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
    return {shown, copenhagen_time(day.time_since_epoch().count() - 1, hour, 0)};
}

// Reminds of changes of engagements on the day before they take effect.
#include "router.h"

#include <regex>

#include "nlohmann/json.hpp"
#include "src/schedule.h"

using namespace router;

// What MO sends for "no date".
static constexpr std::int64_t no_date = 253402300799;

std::vector<std::string> plugin::subscriptions() { return {"employee.engagement.*"}; }

Answer plugin::route(const Event &event) {
    static const std::regex valid("[01]?[0-9]|2[0-3]");
    std::string hour = setting("hour", "8");
    if (!std::regex_match(hour, valid)) {
        return Reject{"config.hour is " + hour + ": an hour from 0 to 23 is needed"};
    }
    if (!event.time || event.time->seconds >= no_date) {
        log(Level::debug, event.routing_key + " has no date");
        return Publications{};
    }
    Reminder due = reminder(event.time->seconds, std::stoi(hour));
    nlohmann::json body = {
        {"effective", due.day},
        {"message", setting("message", "A change takes effect tomorrow")},
        {"uuid", event.uuid},
    };
    return Publications{{
        .routing_key = "reminder." + event.routing_key,
        .body = body.dump(),
        .due = Datetime{due.at},
        .key = event.routing_key + " " + event.object_uuid.value_or(event.uuid) + " " + due.day,
    }};
}

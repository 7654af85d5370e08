// Runs natively.
#undef NDEBUG
#include <cassert>

#include "fakes.h"
#include "src/schedule.h"

using namespace router;

static Answer route(std::int64_t time) {
    Event event;
    event.routing_key = "employee.engagement.create";
    event.uuid = "person";
    event.time = Datetime{time};
    return plugin::route(event);
}

static void check(std::int64_t effective, std::string_view day, std::int64_t at) {
    Reminder found = reminder(effective, 8);
    assert(found.day == day && found.at == at);
}

int main() {
    // Eight is an hour earlier in summer.
    check(1711839600, "2024-03-31", 1711782000);
    check(1711922400, "2024-04-01", 1711864800);
    check(1729980000, "2024-10-27", 1729922400);
    check(1730070000, "2024-10-28", 1730012400);

    fakes::set("message", "tomorrow");
    Publication announced = std::get<Publications>(route(1711922400)).at(0);
    assert(announced.body == R"({"effective":"2024-04-01","message":"tomorrow","uuid":"person"})");
    assert(announced.due == Due(Datetime{1711864800}));

    assert(std::get<Publications>(route(253402300799)).empty());
    assert(fakes::logged().back().second == "employee.engagement.create has no date");

    fakes::set("hour", "24");
    assert(std::holds_alternative<Reject>(route(1711922400)));
}

// Runs natively.
#undef NDEBUG
#include <cassert>

#include "fakes.h"

using namespace router;

// The publications for an event with this action.
static Publications route(const char *action) {
    Event event;
    event.routing_key = "employee.address";
    event.topic = {"employee", "address", action};
    return fakes::published(plugin::route(event));
}

int main() {
    assert(route("edit") == Publications{Publication{}});
    assert(fakes::logged().empty());
    assert(route("refresh").empty());
    assert(fakes::logged().front().second == "skipped employee.address");

    fakes::reset();
    fakes::set("skip", "edit terminate");
    assert(route("edit").empty());
    assert(route("refresh").size() == 1);
}

// Forwards what happens to employees, but not what is only refreshed.
#include "router.h"

#include <ranges>

using namespace router;

std::vector<std::string> plugin::subscriptions() { return {"employee.#"}; }

// `config.skip` has the actions that are not forwarded.
Answer plugin::route(const Event &event) {
    std::string skipped = setting("skip", "refresh");
    for (auto action : std::views::split(skipped, ' ')) {
        if (std::string_view(action) == event.topic.action) {
            log(Level::debug, "skipped " + event.routing_key);
            return Publications{};
        }
    }
    return Publications{Publication{}}; // nothing set: forward
}

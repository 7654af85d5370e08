#include "router.h"

using namespace router;

std::vector<std::string> plugin::subscriptions() { return {"employee.#"}; }

Answer plugin::route(const Event &event) {
    const auto &deaths = std::get<List>(*event.header("deaths"));
    const auto &death = std::get<Headers>(deaths[0]);
    // What is in a table has no name to be looked up by: the first is `count`.
    const auto &queue = death[1].second;
    if (event.header("none") || death[0].second.integer() != 1 || event.header("since")->integer()) {
        return Reject{"a header is read wrongly"};
    }
    return Publications{{
        .content_type = "text/plain",
        .content_encoding = "",
        .headers = {{"text", "a"},
                    {"count", std::int32_t(*event.header("count")->integer() + 1)},
                    {"since", *event.header("since")},
                    {"queues", List{queue, Headers{{"n", std::int32_t{1}}}}}},
        .priority = *event.priority + 1,
        .correlation_id = event.message_id,
        .expiration = "60000",
        .timestamp = *event.timestamp + 1,
        .type = *event.type + "!",
    }};
}

#include "router.h"

using namespace router;

namespace {

const Value &of(const Headers &headers, std::string_view name) {
    for (const auto &[own, value] : headers) {
        if (own == name) {
            return value;
        }
    }
    static const Value none;
    return none;
}

} // namespace

std::vector<std::string> plugin::subscriptions() { return {"employee.#"}; }

Answer plugin::route(const Event &event) {
    const auto &deaths = std::get<List>(of(event.headers, "deaths"));
    const auto &death = std::get<Headers>(deaths[0]);
    return Publications{{
        .content_type = "text/plain",
        .content_encoding = "",
        .headers = {{"text", "a"},
                    {"count", std::get<std::int32_t>(of(event.headers, "count")) + 1},
                    {"since", of(event.headers, "since")},
                    {"queues", List{of(death, "queue"), Headers{{"n", std::int32_t{1}}}}}},
        .priority = *event.priority + 1,
        .correlation_id = event.message_id,
        .expiration = "60000",
        .timestamp = *event.timestamp + 1,
        .type = *event.type + "!",
    }};
}

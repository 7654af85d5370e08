#include "router.h"

std::vector<std::string> plugin::subscriptions() { return {"employee.#"}; }

router::Answer plugin::route(const router::Event &) {
    router::Publications copies;
    for (const auto &[key, value] : router::all_settings()) {
        if (key.starts_with("copy-")) {
            copies.push_back({.routing_key = value});
        }
    }
    return copies;
}

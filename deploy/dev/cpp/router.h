// What the router and the plugin are to each other: events and answers, the settings, the log.
// wit/router.wit documents them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace router {

// A point in time: seconds since 1970, negative before it, and nanoseconds after them.
struct Datetime {
    std::int64_t seconds = 0;
    std::uint32_t nanoseconds = 0;
    bool operator==(const Datetime &) const = default;
};

// A routing key, taken apart.
struct Topic {
    std::optional<std::string> service;
    std::string object_type;
    std::optional<std::string> action;
};

// Names and values.
using Headers = std::vector<std::pair<std::string, std::string>>;

// One event of MO, as it arrived.
struct Event {
    std::string exchange;
    std::string routing_key;
    Topic topic;
    std::string uuid;
    std::optional<std::string> object_uuid;
    std::optional<Datetime> time;
    std::string body;
    std::optional<std::string> content_type;
    Headers headers;
    bool redelivered = false;
    std::uint32_t attempt = 1;
};

// When a publication leaves the router.
struct Now {
    bool operator==(const Now &) const = default;
};
// This many milliseconds from now.
struct After {
    std::uint64_t milliseconds;
    bool operator==(const After &) const = default;
};
using Due = std::variant<Now, Datetime, After>;

// One message to publish. With nothing set, it is the event itself.
struct Publication {
    std::optional<std::string> exchange;
    std::optional<std::string> routing_key;
    std::optional<std::string> body;
    Headers headers;
    Due due;
    std::optional<std::string> key;
    bool operator==(const Publication &) const = default;
};

// What becomes of an event: these messages leave (none drops it), it may work later, or it never
// will.
using Publications = std::vector<Publication>;
struct Retry {
    std::string why;
};
struct Reject {
    std::string why;
};
using Answer = std::variant<Publications, Retry, Reject>;

// The setting `[plugin.NAME] config.KEY`, or `otherwise` where it is not set.
std::string setting(std::string_view key, std::string_view otherwise = "");

enum class Level : std::uint8_t { trace, debug, info, warn, error, critical };

// Writes to the router's log.
void log(Level level, std::string_view message);

} // namespace router

// What a plugin provides.
namespace plugin {

// The events that it wants.
std::vector<std::string> subscriptions();
// What to publish for one event.
router::Answer route(const router::Event &event);

} // namespace plugin

// What the router and the plugin are to each other: events and answers, the settings, the log.
// wit/router.wit documents them.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
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

// What a header holds, with its type in AMQP.
struct Value;
// A decimal number: `digits` divided by ten, `scale` times.
struct Decimal {
    std::uint8_t scale = 0;
    std::uint32_t digits = 0;
    bool operator==(const Decimal &) const = default;
};
// A point in time, in seconds since 1970.
struct Timestamp {
    std::uint64_t seconds = 0;
    bool operator==(const Timestamp &) const = default;
};
// A long string that is not UTF-8.
struct Bytes {
    std::string bytes;
    bool operator==(const Bytes &) const = default;
};
// A byte array, which RabbitMQ has beside AMQP's types.
struct Binary {
    std::string bytes;
    bool operator==(const Binary &) const = default;
};
using List = std::vector<Value>;
// Names and values: headers, or what is in one of them.
using Headers = std::vector<std::pair<std::string, Value>>;

// The alternatives stand in the order of the interface.
struct Value : std::variant<std::monostate, bool, std::int8_t, std::int16_t, std::int32_t, std::int64_t,
                            std::uint8_t, std::uint16_t, std::uint32_t, float, double, Decimal, Timestamp,
                            std::string, Bytes, Binary, List, Headers> {
    using variant::variant;
    Value(const char *text) : variant(std::string(text)) {}
    // The text, if it is text.
    const std::string *text() const;
    // The number, of an integer of any size.
    std::optional<std::int64_t> integer() const;
};
bool operator==(const Value &, const Value &);

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
    std::optional<std::string> content_encoding;
    Headers headers;
    std::optional<std::uint8_t> priority;
    std::optional<std::string> correlation_id;
    std::optional<std::string> reply_to;
    std::optional<std::string> expiration;
    std::optional<std::string> message_id;
    std::optional<std::uint64_t> timestamp;
    std::optional<std::string> type;
    std::optional<std::string> app_id;
    bool redelivered = false;
    std::uint32_t attempt = 1;
    // The value of a header; null if there is none of this name.
    const Value *header(std::string_view name) const;
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

// One message to publish. With nothing set, it is the event itself: its properties and headers
// travel on. A property whose text is empty is left out.
struct Publication {
    std::optional<std::string> exchange;
    std::optional<std::string> routing_key;
    std::optional<std::string> body;
    std::optional<std::string> content_type;
    std::optional<std::string> content_encoding;
    Headers headers;
    std::optional<std::uint8_t> priority;
    std::optional<std::string> correlation_id;
    std::optional<std::string> reply_to;
    std::optional<std::string> expiration;
    std::optional<std::uint64_t> timestamp;
    std::optional<std::string> type;
    std::optional<std::string> app_id;
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

inline const std::string *Value::text() const { return std::get_if<std::string>(this); }

inline std::optional<std::int64_t> Value::integer() const {
    std::optional<std::int64_t> found;
    auto look = [&]<std::integral... Number>(const Number *...numbers) {
        ((numbers ? void(found = *numbers) : void()), ...);
    };
    look(std::get_if<std::int8_t>(this), std::get_if<std::int16_t>(this), std::get_if<std::int32_t>(this),
         std::get_if<std::int64_t>(this), std::get_if<std::uint8_t>(this), std::get_if<std::uint16_t>(this),
         std::get_if<std::uint32_t>(this));
    return found;
}

inline const Value *Event::header(std::string_view name) const {
    for (const auto &[own, value] : headers) {
        if (own == name) {
            return &value;
        }
    }
    return nullptr;
}

inline bool operator==(const Value &one, const Value &other) {
    return static_cast<const Value::variant &>(one) == static_cast<const Value::variant &>(other);
}

// The setting `[plugin.NAME] config.KEY`, or `otherwise` where it is not set.
std::string setting(std::string_view key, std::string_view otherwise = "");

// All settings `[plugin.NAME] config.*`, by their keys.
std::map<std::string, std::string> all_settings();

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

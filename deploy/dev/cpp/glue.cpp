// Joins the plugin with the bindings: their types become those of router.h, and back. What is
// returned is freed by the bindings: it comes from malloc.
#include "bindings/plugin.h"
#include "router.h"
#include "utf8.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace router {
namespace {

// What is empty is not freed, and has to be somewhere.
template <typename T> T *allocate(std::size_t count) {
    return static_cast<T *>(count ? std::calloc(count, sizeof(T)) : reinterpret_cast<T *>(alignof(T)));
}

plugin_string_t borrowed(std::string_view text) {
    return {reinterpret_cast<std::uint8_t *>(const_cast<char *>(text.data())), text.size()};
}

plugin_string_t copied(std::string_view text) {
    auto bytes = allocate<std::uint8_t>(text.size());
    std::memcpy(bytes, text.data(), text.size());
    return {bytes, text.size()};
}

// Whatever it is, it says something: bytes that are no UTF-8, which the router would refuse, become
// U+FFFD.
plugin_string_t readable(std::string_view text) {
    std::size_t length = text.size();
    return {utf8_of(text.data(), &length), length};
}

plugin_string_t reason(std::string_view why) { return why.empty() ? copied(why) : readable(why); }

template <typename Bytes> std::string text(const Bytes &bytes) {
    return std::string(reinterpret_cast<const char *>(bytes.ptr), bytes.len);
}

std::optional<std::string> text(const plugin_option_string_t &found) {
    return found.is_some ? std::optional(text(found.val)) : std::nullopt;
}

void set(plugin_option_string_t &to, const std::optional<std::string> &value) {
    if (value) {
        to = {true, copied(*value)};
    }
}

std::optional<std::uint8_t> number(const plugin_option_u8_t &found) {
    return found.is_some ? std::optional(found.val) : std::nullopt;
}

std::optional<std::uint64_t> number(const plugin_option_u64_t &found) {
    return found.is_some ? std::optional(found.val) : std::nullopt;
}

using Raw = os2mo_router_types_value_t;
using Place = plugin_tuple2_string_u32_t;
using Named = os2mo_router_types_tuple2_string_value_t;

// A value of an event. What is in lists and tables is in `nested`, each before what is in it.
Value value(const Raw &from, const os2mo_router_types_list_value_t &nested) {
    switch (from.tag) {
    case OS2MO_ROUTER_TYPES_VALUE_BOOLEAN: return from.val.boolean;
    case OS2MO_ROUTER_TYPES_VALUE_INT8: return from.val.int8;
    case OS2MO_ROUTER_TYPES_VALUE_INT16: return from.val.int16;
    case OS2MO_ROUTER_TYPES_VALUE_INT32: return from.val.int32;
    case OS2MO_ROUTER_TYPES_VALUE_INT64: return from.val.int64;
    case OS2MO_ROUTER_TYPES_VALUE_UINT8: return from.val.uint8;
    case OS2MO_ROUTER_TYPES_VALUE_UINT16: return from.val.uint16;
    case OS2MO_ROUTER_TYPES_VALUE_UINT32: return from.val.uint32;
    case OS2MO_ROUTER_TYPES_VALUE_FLOAT: return from.val.float_;
    case OS2MO_ROUTER_TYPES_VALUE_DOUBLE: return from.val.double_;
    case OS2MO_ROUTER_TYPES_VALUE_DECIMAL: return Decimal{from.val.decimal.scale, from.val.decimal.digits};
    case OS2MO_ROUTER_TYPES_VALUE_TIMESTAMP: return Timestamp{from.val.timestamp};
    case OS2MO_ROUTER_TYPES_VALUE_TEXT: return text(from.val.text);
    case OS2MO_ROUTER_TYPES_VALUE_BYTES: return Bytes{text(from.val.bytes)};
    case OS2MO_ROUTER_TYPES_VALUE_BINARY: return Binary{text(from.val.binary)};
    case OS2MO_ROUTER_TYPES_VALUE_LIST: {
        List list;
        for (std::size_t at = 0; at < from.val.list.len; at++) {
            list.push_back(value(nested.ptr[from.val.list.ptr[at]], nested));
        }
        return list;
    }
    case OS2MO_ROUTER_TYPES_VALUE_TABLE: {
        Headers table;
        for (std::size_t at = 0; at < from.val.table.len; at++) {
            const Place &place = from.val.table.ptr[at];
            table.emplace_back(text(place.f0), value(nested.ptr[place.f1], nested));
        }
        return table;
    }
    default: return {};
    }
}

Event event(const exports_os2mo_router_filter_event_t &from) {
    Event event{
        .exchange = text(from.exchange),
        .routing_key = text(from.routing_key),
        .topic = {text(from.topic.service), text(from.topic.object_type), text(from.topic.action)},
        .uuid = text(from.uuid),
        .object_uuid = text(from.object_uuid),
        .time = std::nullopt,
        .body = text(from.body),
        .content_type = text(from.content_type),
        .content_encoding = text(from.content_encoding),
        .headers = {},
        .priority = number(from.priority),
        .correlation_id = text(from.correlation_id),
        .reply_to = text(from.reply_to),
        .expiration = text(from.expiration),
        .message_id = text(from.message_id),
        .timestamp = number(from.timestamp),
        .type = text(from.type),
        .app_id = text(from.app_id),
        .redelivered = from.redelivered,
        .attempt = from.attempt,
    };
    if (from.time.is_some) {
        event.time = {from.time.val.seconds, from.time.val.nanoseconds};
    }
    for (std::size_t at = 0; at < from.headers.len; at++) {
        const Named &header = from.headers.ptr[at];
        event.headers.emplace_back(text(header.f0), value(header.f1, from.nested));
    }
    return event;
}

template <typename To> void copy_into(To &to, std::string_view bytes) {
    plugin_string_t copy = copied(bytes);
    to = {copy.ptr, copy.len};
}

// A value of a publication. What is in lists and tables is added to `nested`, which says at
// which place.
Raw raw(const Value &from, std::vector<Raw> &nested) {
    Raw to{.tag = static_cast<std::uint8_t>(from.index()), .val = {}};
    auto place = [&](const Value &inner) {
        Raw value = raw(inner, nested);
        nested.push_back(value);
        return static_cast<std::uint32_t>(nested.size() - 1);
    };
    switch (to.tag) {
    case OS2MO_ROUTER_TYPES_VALUE_BOOLEAN: to.val.boolean = std::get<bool>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_INT8: to.val.int8 = std::get<std::int8_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_INT16: to.val.int16 = std::get<std::int16_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_INT32: to.val.int32 = std::get<std::int32_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_INT64: to.val.int64 = std::get<std::int64_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_UINT8: to.val.uint8 = std::get<std::uint8_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_UINT16: to.val.uint16 = std::get<std::uint16_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_UINT32: to.val.uint32 = std::get<std::uint32_t>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_FLOAT: to.val.float_ = std::get<float>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_DOUBLE: to.val.double_ = std::get<double>(from); break;
    case OS2MO_ROUTER_TYPES_VALUE_DECIMAL: {
        auto decimal = std::get<Decimal>(from);
        to.val.decimal = {decimal.scale, decimal.digits};
        break;
    }
    case OS2MO_ROUTER_TYPES_VALUE_TIMESTAMP: to.val.timestamp = std::get<Timestamp>(from).seconds; break;
    case OS2MO_ROUTER_TYPES_VALUE_TEXT: copy_into(to.val.text, std::get<std::string>(from)); break;
    case OS2MO_ROUTER_TYPES_VALUE_BYTES: copy_into(to.val.bytes, std::get<Bytes>(from).bytes); break;
    case OS2MO_ROUTER_TYPES_VALUE_BINARY: copy_into(to.val.binary, std::get<Binary>(from).bytes); break;
    case OS2MO_ROUTER_TYPES_VALUE_LIST: {
        const auto &list = std::get<List>(from);
        to.val.list = {allocate<std::uint32_t>(list.size()), list.size()};
        for (std::size_t at = 0; at < list.size(); at++) {
            to.val.list.ptr[at] = place(list[at]);
        }
        break;
    }
    case OS2MO_ROUTER_TYPES_VALUE_TABLE: {
        const auto &table = std::get<Headers>(from);
        to.val.table = {allocate<Place>(table.size()), table.size()};
        for (std::size_t at = 0; at < table.size(); at++) {
            to.val.table.ptr[at] = {copied(table[at].first), place(table[at].second)};
        }
        break;
    }
    default: break;
    }
    return to;
}

exports_os2mo_router_filter_publication_t publication(const Publication &from) {
    exports_os2mo_router_filter_publication_t to{};
    set(to.exchange, from.exchange);
    set(to.routing_key, from.routing_key);
    set(to.content_type, from.content_type);
    set(to.content_encoding, from.content_encoding);
    set(to.correlation_id, from.correlation_id);
    set(to.reply_to, from.reply_to);
    set(to.expiration, from.expiration);
    set(to.type, from.type);
    set(to.app_id, from.app_id);
    set(to.key, from.key);
    if (from.body) {
        plugin_string_t body = copied(*from.body);
        to.body = {true, {body.ptr, body.len}};
    }
    if (from.priority) {
        to.priority = {true, *from.priority};
    }
    if (from.timestamp) {
        to.timestamp = {true, *from.timestamp};
    }
    std::vector<Raw> nested;
    to.headers = {allocate<Named>(from.headers.size()), from.headers.size()};
    for (std::size_t at = 0; at < from.headers.size(); at++) {
        to.headers.ptr[at] = {copied(from.headers[at].first), raw(from.headers[at].second, nested)};
    }
    to.nested = {allocate<Raw>(nested.size()), nested.size()};
    std::copy(nested.begin(), nested.end(), to.nested.ptr);
    if (auto time = std::get_if<Datetime>(&from.due)) {
        to.due.tag = OS2MO_ROUTER_TYPES_DUE_AT;
        to.due.val.at = {time->seconds, time->nanoseconds};
    } else if (auto after = std::get_if<After>(&from.due)) {
        to.due.tag = OS2MO_ROUTER_TYPES_DUE_AFTER;
        to.due.val.after = after->milliseconds;
    }
    return to;
}

} // namespace

std::string setting(std::string_view key, std::string_view otherwise) {
    plugin_string_t name = borrowed(key);
    plugin_option_string_t found;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get(&name, &found, &error)) {
        wasi_config_store_error_free(&error);
        return std::string(otherwise);
    }
    std::string value = text(found).value_or(std::string(otherwise));
    plugin_option_string_free(&found);
    return value;
}

std::map<std::string, std::string> all_settings() {
    plugin_list_tuple2_string_string_t found;
    wasi_config_store_error_t error;
    std::map<std::string, std::string> settings;
    if (!wasi_config_store_get_all(&found, &error)) {
        wasi_config_store_error_free(&error);
        return settings;
    }
    for (std::size_t at = 0; at < found.len; at++) {
        settings.emplace(text(found.ptr[at].f0), text(found.ptr[at].f1));
    }
    plugin_list_tuple2_string_string_free(&found);
    return settings;
}

void log(Level level, std::string_view message) {
    plugin_string_t context = borrowed("plugin"), line = readable(message);
    wasi_logging_logging_log(static_cast<wasi_logging_logging_level_t>(level), &context, &line);
    std::free(line.ptr);
}

} // namespace router

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    auto wanted = plugin::subscriptions();
    *patterns = {router::allocate<plugin_string_t>(wanted.size()), wanted.size()};
    for (std::size_t at = 0; at < wanted.size(); at++) {
        patterns->ptr[at] = router::copied(wanted[at]);
    }
}

bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *from,
                                       exports_os2mo_router_filter_list_publication_t *to,
                                       exports_os2mo_router_filter_failure_t *failure) {
    router::Event event = router::event(*from);
    exports_os2mo_router_filter_event_free(from);
    router::Answer answer = plugin::route(event);
    if (auto retry = std::get_if<router::Retry>(&answer)) {
        failure->tag = OS2MO_ROUTER_TYPES_FAILURE_RETRY;
        failure->val.retry = router::reason(retry->why);
        return false;
    }
    if (auto reject = std::get_if<router::Reject>(&answer)) {
        failure->tag = OS2MO_ROUTER_TYPES_FAILURE_REJECT;
        failure->val.reject = router::reason(reject->why);
        return false;
    }
    const auto &publications = std::get<router::Publications>(answer);
    auto list = router::allocate<exports_os2mo_router_filter_publication_t>(publications.size());
    for (std::size_t at = 0; at < publications.size(); at++) {
        list[at] = router::publication(publications[at]);
    }
    *to = {list, publications.size()};
    return true;
}

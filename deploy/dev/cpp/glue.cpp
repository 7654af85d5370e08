// Joins the plugin with the bindings: their types become those of router.h, and back. What is
// returned is freed by the bindings: it comes from malloc.
#include "bindings/plugin.h"
#include "router.h"

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
        .headers = {},
        .redelivered = from.redelivered,
        .attempt = from.attempt,
    };
    if (from.time.is_some) {
        event.time = {from.time.val.seconds, from.time.val.nanoseconds};
    }
    for (std::size_t at = 0; at < from.headers.len; at++) {
        event.headers.emplace_back(text(from.headers.ptr[at].f0), text(from.headers.ptr[at].f1));
    }
    return event;
}

exports_os2mo_router_filter_publication_t publication(const Publication &from) {
    exports_os2mo_router_filter_publication_t to{};
    set(to.exchange, from.exchange);
    set(to.routing_key, from.routing_key);
    set(to.key, from.key);
    if (from.body) {
        plugin_string_t body = copied(*from.body);
        to.body = {true, {body.ptr, body.len}};
    }
    to.headers = {allocate<plugin_tuple2_string_string_t>(from.headers.size()), from.headers.size()};
    for (std::size_t at = 0; at < from.headers.size(); at++) {
        to.headers.ptr[at] = {copied(from.headers[at].first), copied(from.headers[at].second)};
    }
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

void log(Level level, std::string_view message) {
    plugin_string_t context = borrowed("plugin"), line = borrowed(message);
    wasi_logging_logging_log(static_cast<wasi_logging_logging_level_t>(level), &context, &line);
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
        failure->val.retry = router::copied(retry->why);
        return false;
    }
    if (auto reject = std::get_if<router::Reject>(&answer)) {
        failure->tag = OS2MO_ROUTER_TYPES_FAILURE_REJECT;
        failure->val.reject = router::copied(reject->why);
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

//! Joins the plugin with the bindings: their types become those of router.zig, and back.
const std = @import("std");
const c = @import("bindings");
const plugin = @import("plugin");
const router = @import("router");

pub const std_options: std.Options = .{ .logFn = router.logFn, .log_level = .debug };
pub const panic = std.debug.FullPanic(panicked);

/// The message goes to the log, from where the router takes it into the reason of the failure.
fn panicked(message: []const u8, _: ?usize) noreturn {
    router.log(.critical, "panic: {s}", .{message});
    @trap();
}

const Value = c.os2mo_router_types_value_t;

/// What a plugin allocates for one event.
var memory: std.heap.ArenaAllocator = .init(std.heap.c_allocator);

export fn exports_os2mo_router_filter_subscriptions(patterns: *c.plugin_list_string_t) void {
    const wanted = plugin.subscriptions();
    const list = allocate(c.plugin_string_t, wanted.len);
    for (list, wanted) |*to, pattern| to.* = text(pattern);
    patterns.* = .{ .ptr = list.ptr, .len = list.len };
}

export fn exports_os2mo_router_filter_route(
    event: *c.exports_os2mo_router_filter_event_t,
    publications: *c.exports_os2mo_router_filter_list_publication_t,
    failure: *c.exports_os2mo_router_filter_failure_t,
) bool {
    defer c.exports_os2mo_router_filter_event_free(event);
    defer _ = memory.reset(.{ .retain_with_limit = 1 << 20 });
    switch (answer(event)) {
        .publish => |messages| {
            const list = allocate(c.exports_os2mo_router_filter_publication_t, messages.len);
            for (list, messages) |*to, message| to.* = publication(message);
            publications.* = .{ .ptr = list.ptr, .len = list.len };
            return true;
        },
        .retry => |why| failure.* = .{
            .tag = c.OS2MO_ROUTER_TYPES_FAILURE_RETRY,
            .val = .{ .retry = reason(why) },
        },
        .reject => |why| failure.* = .{
            .tag = c.OS2MO_ROUTER_TYPES_FAILURE_REJECT,
            .val = .{ .reject = reason(why) },
        },
    }
    return false;
}

/// An error ends the call like a panic.
fn answer(event: *c.exports_os2mo_router_filter_event_t) router.Answer {
    const arena = memory.allocator();
    const headers = scratch(router.Header, event.headers.len);
    for (headers, 0..) |*header, at| {
        const pair = event.headers.ptr[at];
        header.* = .{ .name = bytes(pair.f0), .value = plain(pair.f1, event.nested) };
    }
    // Not inlined, its name is in the reason of a failure.
    return @call(.never_inline, plugin.route, .{ arena, router.Event{
        .exchange = bytes(event.exchange),
        .routing_key = bytes(event.routing_key),
        .topic = .{
            .service = optional(event.topic.service),
            .object_type = bytes(event.topic.object_type),
            .action = optional(event.topic.action),
        },
        .uuid = bytes(event.uuid),
        .object_uuid = optional(event.object_uuid),
        .time = if (event.time.is_some) .{
            .seconds = event.time.val.seconds,
            .nanoseconds = event.time.val.nanoseconds,
        } else null,
        .body = bytes(event.body),
        .content_type = optional(event.content_type),
        .content_encoding = optional(event.content_encoding),
        .headers = headers,
        .priority = if (event.priority.is_some) event.priority.val else null,
        .correlation_id = optional(event.correlation_id),
        .reply_to = optional(event.reply_to),
        .expiration = optional(event.expiration),
        .message_id = optional(event.message_id),
        .timestamp = if (event.timestamp.is_some) event.timestamp.val else null,
        .type = optional(event.type),
        .app_id = optional(event.app_id),
        .redelivered = event.redelivered,
        .attempt = event.attempt,
    } }) catch |failed| std.debug.panic("route returned error.{s}", .{@errorName(failed)});
}

/// A header's value for the plugin. WIT has no types that contain themselves: what is in a list or
/// a table is in `nested`, and the list or table has its places there.
fn plain(from: Value, nested: c.os2mo_router_types_list_value_t) router.Value {
    switch (from.tag) {
        c.OS2MO_ROUTER_TYPES_VALUE_NULL => return .null,
        c.OS2MO_ROUTER_TYPES_VALUE_BOOLEAN => return .{ .boolean = from.val.boolean },
        c.OS2MO_ROUTER_TYPES_VALUE_INT8 => return .{ .int8 = from.val.int8 },
        c.OS2MO_ROUTER_TYPES_VALUE_INT16 => return .{ .int16 = from.val.int16 },
        c.OS2MO_ROUTER_TYPES_VALUE_INT32 => return .{ .int32 = from.val.int32 },
        c.OS2MO_ROUTER_TYPES_VALUE_INT64 => return .{ .int64 = from.val.int64 },
        c.OS2MO_ROUTER_TYPES_VALUE_UINT8 => return .{ .uint8 = from.val.uint8 },
        c.OS2MO_ROUTER_TYPES_VALUE_UINT16 => return .{ .uint16 = from.val.uint16 },
        c.OS2MO_ROUTER_TYPES_VALUE_UINT32 => return .{ .uint32 = from.val.uint32 },
        c.OS2MO_ROUTER_TYPES_VALUE_FLOAT => return .{ .float = from.val.float_ },
        c.OS2MO_ROUTER_TYPES_VALUE_DOUBLE => return .{ .double = from.val.double_ },
        c.OS2MO_ROUTER_TYPES_VALUE_DECIMAL => return .{ .decimal = .{
            .scale = from.val.decimal.scale,
            .digits = from.val.decimal.digits,
        } },
        c.OS2MO_ROUTER_TYPES_VALUE_TIMESTAMP => return .{ .timestamp = from.val.timestamp },
        c.OS2MO_ROUTER_TYPES_VALUE_TEXT => return .{ .text = bytes(from.val.text) },
        c.OS2MO_ROUTER_TYPES_VALUE_BYTES => return .{ .bytes = bytes(from.val.bytes) },
        c.OS2MO_ROUTER_TYPES_VALUE_BINARY => return .{ .binary = bytes(from.val.binary) },
        c.OS2MO_ROUTER_TYPES_VALUE_LIST => {
            const list = scratch(router.Value, from.val.list.len);
            for (list, 0..) |*to, at| to.* = plain(nested.ptr[from.val.list.ptr[at]], nested);
            return .{ .list = list };
        },
        c.OS2MO_ROUTER_TYPES_VALUE_TABLE => {
            const table = scratch(router.Header, from.val.table.len);
            for (table, 0..) |*to, at| {
                const pair = from.val.table.ptr[at];
                to.* = .{ .name = bytes(pair.f0), .value = plain(nested.ptr[pair.f1], nested) };
            }
            return .{ .table = table };
        },
        else => unreachable,
    }
}

fn publication(message: router.Publication) c.exports_os2mo_router_filter_publication_t {
    var nested: std.ArrayList(Value) = .empty;
    const headers = allocate(c.os2mo_router_types_tuple2_string_value_t, message.headers.len);
    for (headers, message.headers) |*to, header| {
        to.* = .{ .f0 = text(header.name), .f1 = typed(header.value, &nested) };
    }
    const inner = copied(Value, nested.items);
    var to = std.mem.zeroes(c.exports_os2mo_router_filter_publication_t);
    set(&to.exchange, message.exchange);
    set(&to.routing_key, message.routing_key);
    set(&to.content_type, message.content_type);
    set(&to.content_encoding, message.content_encoding);
    set(&to.correlation_id, message.correlation_id);
    set(&to.reply_to, message.reply_to);
    set(&to.expiration, message.expiration);
    set(&to.type, message.type);
    set(&to.app_id, message.app_id);
    set(&to.key, message.key);
    to.headers = .{ .ptr = headers.ptr, .len = headers.len };
    to.nested = .{ .ptr = inner.ptr, .len = inner.len };
    if (message.priority) |priority| to.priority = .{ .is_some = true, .val = priority };
    if (message.timestamp) |timestamp| to.timestamp = .{ .is_some = true, .val = timestamp };
    if (message.body) |body| to.body = .{ .is_some = true, .val = binary(body) };
    switch (message.due) {
        .now => {},
        .at => |time| {
            to.due.tag = c.OS2MO_ROUTER_TYPES_DUE_AT;
            to.due.val.at = .{ .seconds = time.seconds, .nanoseconds = time.nanoseconds };
        },
        .after => |milliseconds| {
            to.due.tag = c.OS2MO_ROUTER_TYPES_DUE_AFTER;
            to.due.val.after = milliseconds;
        },
    }
    return to;
}

/// A header's value for the bindings, whose tags have the same order; what is in a list or a table
/// goes into `nested`.
fn typed(from: router.Value, nested: *std.ArrayList(Value)) Value {
    var to = std.mem.zeroes(Value);
    to.tag = @backingInt(from);
    switch (from) {
        .null => {},
        .boolean => |value| to.val.boolean = value,
        .int8 => |value| to.val.int8 = value,
        .int16 => |value| to.val.int16 = value,
        .int32 => |value| to.val.int32 = value,
        .int64 => |value| to.val.int64 = value,
        .uint8 => |value| to.val.uint8 = value,
        .uint16 => |value| to.val.uint16 = value,
        .uint32 => |value| to.val.uint32 = value,
        .float => |value| to.val.float_ = value,
        .double => |value| to.val.double_ = value,
        .decimal => |value| to.val.decimal = .{ .scale = value.scale, .digits = value.digits },
        .timestamp => |value| to.val.timestamp = value,
        .text => |value| to.val.text = text(value),
        .bytes => |value| to.val.bytes = binary(value),
        .binary => |value| to.val.binary = binary(value),
        .list => |values| {
            const places = allocate(u32, values.len);
            for (places, values) |*place, value| place.* = put(value, nested);
            to.val.list = .{ .ptr = places.ptr, .len = places.len };
        },
        .table => |table| {
            const places = allocate(c.plugin_tuple2_string_u32_t, table.len);
            for (places, table) |*place, header| {
                place.* = .{ .f0 = text(header.name), .f1 = put(header.value, nested) };
            }
            to.val.table = .{ .ptr = places.ptr, .len = places.len };
        },
    }
    return to;
}

/// Puts it into `nested`; returns its place there.
fn put(value: router.Value, nested: *std.ArrayList(Value)) u32 {
    const inner = typed(value, nested);
    nested.append(memory.allocator(), inner) catch @panic("out of memory");
    return @intCast(nested.items.len - 1);
}

fn set(to: *c.plugin_option_string_t, value: ?[]const u8) void {
    if (value) |some| to.* = .{ .is_some = true, .val = text(some) };
}

// What is returned is freed by the bindings: it comes from malloc.
fn allocate(T: type, count: usize) []T {
    // Zig says nothing of where nothing is, and the router wants it in memory.
    if (count == 0) return @as([*]T, @ptrFromInt(@alignOf(T)))[0..0];
    return std.heap.c_allocator.alloc(T, count) catch @panic("out of memory");
}

fn copied(T: type, values: []const T) []T {
    const to = allocate(T, values.len);
    @memcpy(to, values);
    return to;
}

fn text(value: []const u8) c.plugin_string_t {
    const to = copied(u8, value);
    return .{ .ptr = to.ptr, .len = to.len };
}

/// Whatever it is, it says what went wrong.
fn reason(why: []const u8) c.plugin_string_t {
    return text(router.utf8.valid(memory.allocator(), why) catch @panic("out of memory"));
}

fn binary(value: []const u8) c.plugin_list_u8_t {
    const to = copied(u8, value);
    return .{ .ptr = to.ptr, .len = to.len };
}

/// What is of one event only.
fn scratch(T: type, count: usize) []T {
    return memory.allocator().alloc(T, count) catch @panic("out of memory");
}

fn bytes(value: anytype) []const u8 {
    return if (value.len == 0) "" else value.ptr[0..value.len];
}

fn optional(value: c.plugin_option_string_t) ?[]const u8 {
    return if (value.is_some) bytes(value.val) else null;
}

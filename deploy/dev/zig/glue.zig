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
            .val = .{ .retry = text(why) },
        },
        .reject => |why| failure.* = .{
            .tag = c.OS2MO_ROUTER_TYPES_FAILURE_REJECT,
            .val = .{ .reject = text(why) },
        },
    }
    return false;
}

/// An error ends the call like a panic.
fn answer(event: *c.exports_os2mo_router_filter_event_t) router.Answer {
    const arena = memory.allocator();
    const headers = arena.alloc(router.Header, event.headers.len) catch @panic("out of memory");
    for (headers, 0..) |*header, at| {
        const pair = event.headers.ptr[at];
        header.* = .{ .name = bytes(pair.f0), .value = bytes(pair.f1) };
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
        .headers = headers,
        .redelivered = event.redelivered,
        .attempt = event.attempt,
    } }) catch |failed| std.debug.panic("route returned error.{s}", .{@errorName(failed)});
}

fn publication(message: router.Publication) c.exports_os2mo_router_filter_publication_t {
    const headers = allocate(c.plugin_tuple2_string_string_t, message.headers.len);
    for (headers, message.headers) |*to, header| {
        to.* = .{ .f0 = text(header.name), .f1 = text(header.value) };
    }
    var to = std.mem.zeroes(c.exports_os2mo_router_filter_publication_t);
    set(&to.exchange, message.exchange);
    set(&to.routing_key, message.routing_key);
    set(&to.key, message.key);
    to.headers = .{ .ptr = headers.ptr, .len = headers.len };
    if (message.body) |body| {
        const copied = text(body);
        to.body = .{ .is_some = true, .val = .{ .ptr = copied.ptr, .len = copied.len } };
    }
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

fn set(to: *c.plugin_option_string_t, value: ?[]const u8) void {
    if (value) |some| to.* = .{ .is_some = true, .val = text(some) };
}

// What is returned is freed by the bindings: it comes from malloc.
fn allocate(T: type, count: usize) []T {
    // Zig says nothing of where nothing is, and the router wants it in memory.
    if (count == 0) return @as([*]T, @ptrFromInt(@alignOf(T)))[0..0];
    return std.heap.c_allocator.alloc(T, count) catch @panic("out of memory");
}

fn text(value: []const u8) c.plugin_string_t {
    const copied = allocate(u8, value.len);
    @memcpy(copied, value);
    return .{ .ptr = copied.ptr, .len = copied.len };
}

fn bytes(value: anytype) []const u8 {
    return if (value.len == 0) "" else value.ptr[0..value.len];
}

fn optional(value: c.plugin_option_string_t) ?[]const u8 {
    return if (value.is_some) bytes(value.val) else null;
}

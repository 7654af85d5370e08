//! What the router and the plugin are to each other: events and answers, the settings, the log.
//! wit/router.wit documents them.
const std = @import("std");
const builtin = @import("builtin");
pub const utf8 = @import("utf8.zig");

/// A point in time: seconds since 1970, negative before it, and nanoseconds after them.
pub const Datetime = struct {
    seconds: i64,
    nanoseconds: u32 = 0,
};

/// A routing key, taken apart.
pub const Topic = struct {
    service: ?[]const u8 = null,
    object_type: []const u8 = "",
    action: ?[]const u8 = null,
};

/// The value of a header, with its type in AMQP. The types are in the interface's order.
pub const Value = union(enum) {
    null,
    boolean: bool,
    int8: i8,
    int16: i16,
    int32: i32,
    int64: i64,
    uint8: u8,
    uint16: u16,
    uint32: u32,
    float: f32,
    double: f64,
    decimal: Decimal,
    /// Seconds since 1970.
    timestamp: u64,
    text: []const u8,
    /// Text that is not UTF-8.
    bytes: []const u8,
    binary: []const u8,
    list: []const Value,
    table: []const Header,

    /// The number, of an integer of any size.
    pub fn int(value: Value) ?i64 {
        return switch (value) {
            inline .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32 => |number| number,
            else => null,
        };
    }
};

/// `digits` divided by ten, `scale` times.
pub const Decimal = struct {
    scale: u8,
    digits: u32,
};

/// A header, or what is in a table.
pub const Header = struct {
    name: []const u8,
    value: Value,

    /// A header that is text.
    pub fn text(name: []const u8, value: []const u8) Header {
        return .{ .name = name, .value = .{ .text = value } };
    }
};

/// One event of MO, as it arrived.
pub const Event = struct {
    exchange: []const u8 = "",
    routing_key: []const u8 = "",
    topic: Topic = .{},
    uuid: []const u8 = "",
    object_uuid: ?[]const u8 = null,
    time: ?Datetime = null,
    body: []const u8 = "",
    content_type: ?[]const u8 = null,
    content_encoding: ?[]const u8 = null,
    headers: []const Header = &.{},
    priority: ?u8 = null,
    correlation_id: ?[]const u8 = null,
    reply_to: ?[]const u8 = null,
    /// Milliseconds, in digits.
    expiration: ?[]const u8 = null,
    message_id: ?[]const u8 = null,
    /// Seconds since 1970.
    timestamp: ?u64 = null,
    type: ?[]const u8 = null,
    app_id: ?[]const u8 = null,
    redelivered: bool = false,
    attempt: u32 = 1,

    /// The value of the header; null if there is none.
    pub fn header(event: Event, name: []const u8) ?Value {
        for (event.headers) |own| {
            if (std.mem.eql(u8, own.name, name)) return own.value;
        }
        return null;
    }

    /// The same, of a header that is text; null if it is anything else.
    pub fn textHeader(event: Event, name: []const u8) ?[]const u8 {
        const value = event.header(name) orelse return null;
        return if (value == .text) value.text else null;
    }
};

/// When a publication leaves the router.
pub const Due = union(enum) {
    now,
    at: Datetime,
    /// So many milliseconds from now.
    after: u64,
};

/// One message to publish. With nothing set, it is the event itself. What is null is the event's;
/// a property that is an empty text is left out.
pub const Publication = struct {
    exchange: ?[]const u8 = null,
    routing_key: ?[]const u8 = null,
    body: ?[]const u8 = null,
    content_type: ?[]const u8 = null,
    content_encoding: ?[]const u8 = null,
    /// Set beside the event's own, or in place of them.
    headers: []const Header = &.{},
    /// 0 to 9.
    priority: ?u8 = null,
    correlation_id: ?[]const u8 = null,
    reply_to: ?[]const u8 = null,
    /// Milliseconds, in digits.
    expiration: ?[]const u8 = null,
    /// Seconds since 1970.
    timestamp: ?u64 = null,
    type: ?[]const u8 = null,
    app_id: ?[]const u8 = null,
    due: Due = .now,
    key: ?[]const u8 = null,
};

/// What becomes of an event.
pub const Answer = union(enum) {
    /// These messages leave; none drops the event.
    publish: []const Publication,
    /// It may work later.
    retry: []const u8,
    /// It never will.
    reject: []const u8,
};

/// How much a message matters.
pub const Level = enum(u8) { trace, debug, info, warn, err, critical };

/// The setting `[plugin.NAME] config.KEY`; null if it is not set.
pub fn setting(arena: std.mem.Allocator, key: []const u8) error{OutOfMemory}!?[]const u8 {
    return host.setting(arena, key);
}

/// A setting, of `allSettings`.
pub const Setting = struct {
    key: []const u8,
    value: []const u8,
};

/// All settings `[plugin.NAME] config.*`, in no order.
pub fn allSettings(arena: std.mem.Allocator) error{OutOfMemory}![]const Setting {
    return host.allSettings(arena);
}

/// Writes to the router's log. What is longer than 4 KB is cut, which is said at its end; bytes that
/// are no UTF-8 become U+FFFD.
pub fn log(level: Level, comptime format: []const u8, arguments: anytype) void {
    var buffer: [utf8.longest]u8 = undefined;
    host.log(level, "plugin", utf8.format(&buffer, format, arguments));
}

/// Ends the call, as a panic that says where it is: `router.panic(@src(), "no unit {s}", .{name})`.
/// The reason of the failure has the file, the line and the function.
pub fn panic(at: std.builtin.SourceLocation, comptime format: []const u8, arguments: anytype) noreturn {
    var buffer: [2048]u8 = undefined;
    const message = utf8.format(&buffer, format, arguments);
    std.debug.panic("{s}:{d}, in {s}: {s}", .{ at.file, at.line, at.fn_name, message });
}

/// Where std.log writes to in the plugin.
pub fn logFn(
    comptime level: std.log.Level,
    comptime scope: @EnumLiteral(),
    comptime format: []const u8,
    arguments: anytype,
) void {
    var buffer: [utf8.longest]u8 = undefined;
    host.log(switch (level) {
        .err => .err,
        .warn => .warn,
        .info => .info,
        .debug => .debug,
    }, @tagName(scope), utf8.format(&buffer, format, arguments));
}

const host = if (builtin.is_test) fakes else @import("host.zig");

/// What takes the router's place in unit tests, which run natively.
pub const fakes = struct {
    pub const Line = struct { level: Level, message: []const u8 };

    // What tests set and log stays until the tests end.
    const allocator = std.heap.page_allocator;
    var settings: std.StringHashMapUnmanaged([]const u8) = .empty;
    var lines: std.ArrayList(Line) = .empty;

    /// Sets `config.KEY`.
    pub fn set(key: []const u8, value: []const u8) void {
        settings.put(allocator, key, value) catch @panic("out of memory");
    }

    /// What was logged so far.
    pub fn logged() []const Line {
        return lines.items;
    }

    /// Forgets all settings and what was logged.
    pub fn reset() void {
        settings.clearRetainingCapacity();
        lines.clearRetainingCapacity();
    }

    fn setting(arena: std.mem.Allocator, key: []const u8) error{OutOfMemory}!?[]const u8 {
        return if (settings.get(key)) |value| try arena.dupe(u8, value) else null;
    }

    fn allSettings(arena: std.mem.Allocator) error{OutOfMemory}![]const Setting {
        const all = try arena.alloc(Setting, settings.count());
        var entries = settings.iterator();
        for (all) |*one| {
            const entry = entries.next().?;
            one.* = .{
                .key = try arena.dupe(u8, entry.key_ptr.*),
                .value = try arena.dupe(u8, entry.value_ptr.*),
            };
        }
        return all;
    }

    fn log(level: Level, _: []const u8, message: []const u8) void {
        const kept = allocator.dupe(u8, message) catch @panic("out of memory");
        lines.append(allocator, .{ .level = level, .message = kept }) catch @panic("out of memory");
    }
};

//! The settings and the log in the sandbox.
const std = @import("std");
const c = @import("bindings");
const router = @import("router.zig");

pub fn setting(arena: std.mem.Allocator, key: []const u8) error{OutOfMemory}!?[]const u8 {
    var name = borrowed(key);
    var found: c.plugin_option_string_t = undefined;
    var failed: c.wasi_config_store_error_t = undefined;
    if (!c.wasi_config_store_get(&name, &found, &failed)) {
        c.wasi_config_store_error_free(&failed);
        return null;
    }
    if (!found.is_some) return null;
    defer c.plugin_string_free(&found.val);
    return try arena.dupe(u8, found.val.ptr[0..found.val.len]);
}

pub fn allSettings(arena: std.mem.Allocator) error{OutOfMemory}![]const router.Setting {
    var found: c.plugin_list_tuple2_string_string_t = undefined;
    var failed: c.wasi_config_store_error_t = undefined;
    if (!c.wasi_config_store_get_all(&found, &failed)) {
        c.wasi_config_store_error_free(&failed);
        return &.{};
    }
    defer c.plugin_list_tuple2_string_string_free(&found);
    const all = try arena.alloc(router.Setting, found.len);
    for (all, 0..) |*one, at| {
        const pair = found.ptr[at];
        one.* = .{
            .key = try arena.dupe(u8, pair.f0.ptr[0..pair.f0.len]),
            .value = try arena.dupe(u8, pair.f1.ptr[0..pair.f1.len]),
        };
    }
    return all;
}

pub fn log(level: router.Level, context: []const u8, message: []const u8) void {
    var in = borrowed(context);
    var text = borrowed(message);
    c.wasi_logging_logging_log(@backingInt(level), &in, &text);
}

fn borrowed(text: []const u8) c.plugin_string_t {
    return .{ .ptr = @constCast(text.ptr), .len = text.len };
}

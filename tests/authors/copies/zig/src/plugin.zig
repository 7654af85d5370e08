const std = @import("std");
const router = @import("router");

pub fn subscriptions() []const []const u8 {
    return &.{"employee.#"};
}

pub fn route(arena: std.mem.Allocator, _: router.Event) !router.Answer {
    const all = try arena.dupe(router.Setting, try router.allSettings(arena));
    std.mem.sort(router.Setting, all, {}, isBefore);
    var copies: std.ArrayList(router.Publication) = .empty;
    for (all) |one| {
        if (std.mem.startsWith(u8, one.key, "copy-")) {
            try copies.append(arena, .{ .routing_key = one.value });
        }
    }
    return .{ .publish = copies.items };
}

fn isBefore(_: void, one: router.Setting, other: router.Setting) bool {
    return std.mem.lessThan(u8, one.key, other.key);
}

test {
    _ = @import("copies.zig");
}

//! Forwards what happens to employees, but not what is only refreshed.
const std = @import("std");
const router = @import("router");

/// The events that the plugin wants.
pub fn subscriptions() []const []const u8 {
    return &.{"employee.#"};
}

/// What to publish for one event. `config.skip` has the actions that are not forwarded. What is
/// allocated with `arena` is freed after the answer.
pub fn route(arena: std.mem.Allocator, event: router.Event) !router.Answer {
    const skipped = try router.setting(arena, "skip") orelse "refresh";
    var words = std.mem.tokenizeScalar(u8, skipped, ' ');
    while (words.next()) |word| {
        if (std.mem.eql(u8, word, event.topic.action orelse "")) {
            router.log(.debug, "skipped {s}", .{event.routing_key});
            return .{ .publish = &.{} };
        }
    }
    return .{ .publish = &.{.{}} }; // nothing set: forward
}

fn publications(action: []const u8) !usize {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const event: router.Event = .{
        .routing_key = "employee.address",
        .topic = .{ .service = "employee", .object_type = "address", .action = action },
    };
    return (try route(arena.allocator(), event)).publish.len;
}

test "edits are forwarded" {
    router.fakes.reset();
    try std.testing.expectEqual(1, try publications("edit"));
    try std.testing.expectEqual(0, router.fakes.logged().len);
}

test "refreshes are dropped" {
    router.fakes.reset();
    try std.testing.expectEqual(0, try publications("refresh"));
    try std.testing.expectEqualStrings("skipped employee.address", router.fakes.logged()[0].message);
}

test "what is skipped is a setting" {
    router.fakes.reset();
    router.fakes.set("skip", "edit terminate");
    try std.testing.expectEqual(0, try publications("edit"));
    try std.testing.expectEqual(1, try publications("refresh"));
}

const std = @import("std");
const router = @import("router");
const plugin = @import("plugin.zig");

test "copies are settings" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    router.fakes.reset();
    try std.testing.expectEqual(0, (try plugin.route(arena.allocator(), .{})).publish.len);
    router.fakes.set("copy-b", "two");
    router.fakes.set("other", "");
    router.fakes.set("copy-a", "one");
    const copies = (try plugin.route(arena.allocator(), .{})).publish;
    try std.testing.expectEqual(2, copies.len);
    try std.testing.expectEqualStrings("one", copies[0].routing_key.?);
    try std.testing.expectEqualStrings("two", copies[1].routing_key.?);
}

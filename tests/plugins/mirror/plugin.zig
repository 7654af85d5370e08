const std = @import("std");
const router = @import("router");

pub fn subscriptions() []const []const u8 {
    return &.{"employee.#"};
}

pub fn route(arena: std.mem.Allocator, event: router.Event) !router.Answer {
    const death = event.header("deaths").?.list[0].table;
    const queue = for (death) |field| {
        if (std.mem.eql(u8, field.name, "queue")) break field.value;
    } else unreachable;
    const number: router.Header = .{ .name = "n", .value = .{ .int32 = 1 } };
    const queues = [_]router.Value{ queue, .{ .table = try arena.dupe(router.Header, &.{number}) } };
    const headers = [_]router.Header{
        .text("text", "a"),
        .{ .name = "count", .value = .{ .int32 = event.header("count").?.int32 + 1 } },
        .{ .name = "since", .value = event.header("since").? },
        .{ .name = "queues", .value = .{ .list = try arena.dupe(router.Value, &queues) } },
    };
    return .{ .publish = try arena.dupe(router.Publication, &.{.{
        .content_type = "text/plain",
        .content_encoding = "",
        .headers = try arena.dupe(router.Header, &headers),
        .priority = event.priority.? + 1,
        .correlation_id = event.message_id,
        .expiration = "60000",
        .timestamp = event.timestamp.? + 1,
        .type = try std.mem.concat(arena, u8, &.{ event.type.?, "!" }),
    }}) };
}

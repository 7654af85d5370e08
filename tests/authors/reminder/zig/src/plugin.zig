//! Reminds of changes of engagements on the day before they take effect.
const std = @import("std");
const json = @import("yyjson");
const router = @import("router");
const schedule = @import("schedule.zig");

/// What MO sends for "no date".
const no_date = 253402300799;

pub fn subscriptions() []const []const u8 {
    return &.{"employee.engagement.*"};
}

pub fn route(arena: std.mem.Allocator, event: router.Event) !router.Answer {
    const set = try router.setting(arena, "hour") orelse "8";
    const hour = std.fmt.parseInt(u8, set, 10) catch 24;
    if (hour > 23) {
        const why = "config.hour is {s}: an hour from 0 to 23 is needed";
        return .{ .reject = try std.fmt.allocPrint(arena, why, .{set}) };
    }
    const effective = if (event.time) |time| time.seconds else no_date;
    if (effective >= no_date) {
        router.log(.debug, "{s} has no date", .{event.routing_key});
        return .{ .publish = &.{} };
    }
    const due = schedule.reminder(effective, hour);
    const changed = event.object_uuid orelse event.uuid;
    const publications = try arena.dupe(router.Publication, &.{.{
        .routing_key = try std.mem.concat(arena, u8, &.{ "reminder.", event.routing_key }),
        .body = try body(arena, &due.day, event.uuid),
        .due = .{ .at = .{ .seconds = due.at } },
        .key = try std.mem.join(arena, " ", &.{ event.routing_key, changed, &due.day }),
    }});
    return .{ .publish = publications };
}

fn body(arena: std.mem.Allocator, day: []const u8, uuid: []const u8) ![]const u8 {
    const document = json.yyjson_mut_doc_new(null) orelse return error.OutOfMemory;
    defer json.yyjson_mut_doc_free(document);
    const root = json.yyjson_mut_obj(document);
    json.yyjson_mut_doc_set_root(document, root);
    const message = try router.setting(arena, "message") orelse "A change takes effect tomorrow";
    for ([_]struct { [*:0]const u8, []const u8 }{
        .{ "effective", day },
        .{ "message", message },
        .{ "uuid", uuid },
    }) |field| {
        const name, const text = field;
        _ = json.yyjson_mut_obj_add_strncpy(document, root, name, text.ptr, text.len);
    }
    var length: usize = undefined;
    const written = json.yyjson_mut_write(document, 0, &length) orelse return error.OutOfMemory;
    defer std.c.free(written);
    return arena.dupe(u8, written[0..length]);
}

fn routed(arena: std.mem.Allocator, time: i64) !router.Answer {
    return route(arena, .{
        .routing_key = "employee.engagement.create",
        .uuid = "person",
        .time = .{ .seconds = time },
    });
}

test "a change is announced" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    router.fakes.reset();
    router.fakes.set("message", "tomorrow");
    const answer = try routed(arena.allocator(), 1711922400);
    const expected = "{\"effective\":\"2024-04-01\",\"message\":\"tomorrow\",\"uuid\":\"person\"}";
    try std.testing.expectEqualStrings(expected, answer.publish[0].body.?);
    try std.testing.expectEqual(1711864800, answer.publish[0].due.at.seconds);
}

test "what has no date is not" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    router.fakes.reset();
    try std.testing.expectEqual(0, (try routed(arena.allocator(), no_date)).publish.len);
    try std.testing.expectEqual(1, router.fakes.logged().len);
}

test "an hour is needed" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    router.fakes.reset();
    router.fakes.set("hour", "24");
    try std.testing.expect(try routed(arena.allocator(), 1711922400) == .reject);
}

test {
    _ = schedule;
}

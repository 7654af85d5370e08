//! When to remind of a change.
const std = @import("std");
const copenhagen = @import("copenhagen");

pub const Reminder = struct {
    /// The day on which it takes effect in Denmark: 2024-03-31.
    day: [10]u8,
    /// An hour of the day before, in seconds since 1970.
    at: i64,
};

pub fn reminder(effective: i64, hour: u8) Reminder {
    const day = @divFloor(effective + copenhagen.copenhagen_offset(effective), 86400);
    const year = copenhagen.year_of(day);
    var month: u8 = 12;
    while (copenhagen.days_of(year, month, 1) > day) month -= 1;
    const of_month = day - copenhagen.days_of(year, month, 1) + 1;
    var found: Reminder = .{ .day = undefined, .at = copenhagen.copenhagen_time(day - 1, hour, 0) };
    const parts = .{ @as(u64, @intCast(year)), month, @as(u64, @intCast(of_month)) };
    _ = std.fmt.bufPrint(&found.day, "{d:0>4}-{d:0>2}-{d:0>2}", parts) catch unreachable;
    return found;
}

test "eight is an hour earlier in summer" {
    for ([_]struct { i64, []const u8, i64 }{
        .{ 1711839600, "2024-03-31", 1711782000 },
        .{ 1711922400, "2024-04-01", 1711864800 },
        .{ 1729980000, "2024-10-27", 1729922400 },
        .{ 1730070000, "2024-10-28", 1730012400 },
    }) |case| {
        const found = reminder(case[0], 8);
        try std.testing.expectEqualStrings(case[1], &found.day);
        try std.testing.expectEqual(case[2], found.at);
    }
}

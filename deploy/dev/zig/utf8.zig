//! Text as the router takes it: in UTF-8, and no longer than a line of its log.
const std = @import("std");

/// The longest line of the router's log, in bytes.
pub const longest = 4096;

/// Room to say that something is cut.
const note = 48;

/// Formats into `buffer`. What does not fit is cut at a character, and how much that is stands at
/// the end; bytes that are no UTF-8 become U+FFFD.
pub fn format(buffer: []u8, comptime pattern: []const u8, arguments: anytype) []const u8 {
    var raw: [longest]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&raw);
    const missing = if (writer.print(pattern, arguments)) |_|
        0
    else |_|
        std.fmt.count(pattern, arguments) - writer.buffered().len;
    return fitted(buffer, writer.buffered(), missing);
}

/// The whole text, in UTF-8.
pub fn valid(allocator: std.mem.Allocator, text: []const u8) error{OutOfMemory}![]const u8 {
    if (std.unicode.utf8ValidateSlice(text)) return text;
    return fitted(try allocator.alloc(u8, 3 * text.len + note), text, 0);
}

/// The text in `buffer`, as far as it fits; so many bytes of it are missing already.
fn fitted(buffer: []u8, text: []const u8, missing: usize) []const u8 {
    var at: usize = 0;
    var end: usize = 0;
    while (at < text.len) {
        const length = character(text[at..]);
        const part = if (length == 0) "\u{FFFD}" else text[at..][0..length];
        if (end + part.len > buffer.len - note) break;
        @memcpy(buffer[end..][0..part.len], part);
        end += part.len;
        at += @max(length, 1);
    }
    const cut = text.len - at + missing;
    if (cut > 0) {
        const said = std.fmt.bufPrint(buffer[end..], "… ({d} more bytes are cut)", .{cut}) catch "";
        end += said.len;
    }
    return buffer[0..end];
}

/// How many bytes the character has that begins here; 0 if none does.
fn character(text: []const u8) usize {
    const length = std.unicode.utf8ByteSequenceLength(text[0]) catch return 0;
    if (length > text.len or !std.unicode.utf8ValidateSlice(text[0..length])) return 0;
    return length;
}

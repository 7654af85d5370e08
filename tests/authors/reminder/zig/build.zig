const std = @import("std");
const tools = @import("tools/zig/build.zig");

pub fn build(b: *std.Build) void {
    tools.plugin(b, packages);
}

/// yyjson is a library in C.
fn packages(b: *std.Build, module: *std.Build.Module, options: tools.Options) void {
    const header = b.addTranslateC(.{
        .root_source_file = b.path("src/yyjson.h"),
        .target = options.target,
        .optimize = options.optimize,
    });
    module.addImport("yyjson", header.createModule());
    module.addCSourceFile(.{ .file = b.path("src/yyjson.c") });
}

const std = @import("std");
const tools = @import("tools/zig/build.zig");

pub fn build(b: *std.Build) void {
    tools.plugin(b, packages);
}

/// Packages of build.zig.zon, which `zig fetch --save URL` adds to, and libraries in C:
///
///     module.addImport("name", b.dependency("name", options).module("name"));
///     module.addCSourceFile(.{ .file = b.path("src/library.c") });
fn packages(b: *std.Build, module: *std.Build.Module, options: tools.Options) void {
    _ = b;
    _ = module;
    _ = options;
}

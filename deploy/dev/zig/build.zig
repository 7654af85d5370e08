//! How a plugin is built, and its unit tests, which run natively.
const std = @import("std");

/// What a plugin's packages are built for.
pub const Options = struct {
    target: std.Build.ResolvedTarget,
    optimize: std.builtin.Optimize,
};

/// `packages` adds to the plugin's module what it imports beside `router`.
pub fn plugin(b: *std.Build, packages: fn (*std.Build, *std.Build.Module, Options) void) void {
    const dev = b.option(bool, "dev", "Compile in half the time, for plugin dev") orelse false;
    const sandbox: Options = .{
        .target = b.resolveTargetQuery(.{ .cpu_arch = .wasm32, .os_tag = .wasi }),
        // With checks: what would be undefined ends the call with a message.
        .optimize = if (dev) .debug else .safe,
    };
    const header = b.addTranslateC(.{
        .root_source_file = b.path("bindings/plugin.h"),
        .target = sandbox.target,
        .optimize = sandbox.optimize,
    });
    const root = b.createModule(.{
        .root_source_file = b.path("tools/zig/glue.zig"),
        .target = sandbox.target,
        .optimize = sandbox.optimize,
        .link_libc = true,
        // Names of functions stay: a failure says where it happened.
        .error_tracing = false,
    });
    const bindings = header.createModule();
    const router = host(b, sandbox);
    router.addImport("bindings", bindings);
    root.addImport("bindings", bindings);
    root.addImport("router", router);
    root.addImport("plugin", own(b, sandbox, router, packages));
    root.addCSourceFile(.{ .file = b.path("bindings/plugin.c") });
    root.addObjectFile(b.path("bindings/plugin_component_type.o"));
    const module = b.addExecutable(.{ .name = "plugin", .root_module = root });
    module.entry = .disabled;
    module.wasi_exec_model = .reactor;
    module.rdynamic = true;
    b.getInstallStep().dependOn(&b.addInstallFile(module.getEmittedBin(), "plugin.wasm").step);

    const native: Options = .{ .target = b.graph.host, .optimize = .debug };
    const tests = b.addTest(.{ .root_module = own(b, native, host(b, native), packages) });
    const run = b.addRunArtifact(tests);
    b.step("test", "Run the unit tests").dependOn(&run.step);
}

fn own(
    b: *std.Build,
    options: Options,
    router: *std.Build.Module,
    packages: fn (*std.Build, *std.Build.Module, Options) void,
) *std.Build.Module {
    const module = b.createModule(.{
        .root_source_file = b.path("src/plugin.zig"),
        .target = options.target,
        .optimize = options.optimize,
    });
    module.addImport("router", router);
    // The time of day in Denmark: tools/c/copenhagen.h.
    const copenhagen = b.addTranslateC(.{
        .root_source_file = b.path("tools/c/copenhagen.h"),
        .target = options.target,
        .optimize = options.optimize,
    });
    module.addImport("copenhagen", copenhagen.createModule());
    packages(b, module, options);
    return module;
}

fn host(b: *std.Build, options: Options) *std.Build.Module {
    return b.createModule(.{
        .root_source_file = b.path("tools/zig/router.zig"),
        .target = options.target,
        .optimize = options.optimize,
    });
}

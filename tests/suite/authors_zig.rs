//! What authors meet in Zig and C++, whose tools are the same: see `authors`.

use mo_router::scaffold::{self, Language};

use crate::authors::{Author, says};
use crate::support::languages::{has_tools, make};

const CPP: &str = r#"
#include <cassert>
#include <regex>
#include <stdexcept>

#include "copenhagen.h"
#include "router.h"
#include "word.h"

using namespace router;

struct NoUnit : std::runtime_error {
    using runtime_error::runtime_error;
};

std::vector<std::string> plugin::subscriptions() { return {"employee.#"}; }

static Publication morning(int month, int day) {
    return {.due = Datetime{copenhagen_time(days_of(2024, month, day), 8, 0)}};
}

[[gnu::noinline]] static void deep() { __builtin_trap(); }

Answer plugin::route(const Event &event) {
    static const std::regex pattern("employee\\.(it|address)\\.(\\w+)");
    std::smatch found;
    if (!std::regex_match(event.routing_key, found, pattern)) {
        return Reject{"not ours"};
    }
    std::string action = found[2];
    if (action == "terminate") {
        return Publications{morning(3, 31), morning(10, 27)};
    }
    if (action == "edit") {
        try {
            throw NoUnit("no unit " + event.routing_key);
        } catch (...) {
            return Reject{"caught"};
        }
    }
    if (action == "update") {
        assert(!"no unit");
    }
    if (action == "refresh") {
        deep();
    }
    log(Level::info, "\xe5");
    return Publications{{.headers = {{"first", WORD}, {"set", setting("greeting")}}}};
}
"#;

#[tokio::test]
async fn authors_in_cpp() {
    if !has_tools("zig") {
        return;
    }
    let author = Author {
        language: Language::Cpp,
        files: &[("plugin.cpp", CPP), ("../shared/word.h", "#define WORD \"first\"\n")],
        links: &[("word.h", "../shared/word.h")],
        second_file: "../shared/word.h",
        packages: &[],
    };
    let [exception, assertion, trap] = author.works().await;
    says(&exception, &["trapped in plugin::route", "threw NoUnit: no unit employee.it.edit"]);
    says(&assertion, &["Assertion failed", "no unit", "(plugin.cpp: route: 42)"]);
    says(&trap, &["trapped in deep"]);
}

const ZIG: &str = r#"
const std = @import("std");
const copenhagen = @import("copenhagen");
const router = @import("router");
const word = @import("word.zig").word;

pub fn subscriptions() []const []const u8 {
    return &.{"employee.#"};
}

fn morning(month: c_int, day: c_int) router.Publication {
    const at = copenhagen.copenhagen_time(copenhagen.days_of(2024, month, day), 8, 0);
    return .{ .due = .{ .at = .{ .seconds = at } } };
}

noinline fn deep(numbers: []const u32, at: usize) u32 {
    return numbers[at];
}

const Action = enum { create, terminate, edit, update, refresh };

pub fn route(arena: std.mem.Allocator, event: router.Event) !router.Answer {
    switch (std.meta.stringToEnum(Action, event.topic.action.?).?) {
        .create => {},
        .terminate => return publish(arena, &.{ morning(3, 31), morning(10, 27) }),
        .edit => router.panic(@src(), "no unit {s}{s}", .{ event.routing_key, long }),
        .update => return .{ .retry = if (deep(&.{1}, event.routing_key.len) == 1) "one" else "two" },
        .refresh => return error.NoUnit,
    }
    const greeting = try router.setting(arena, "greeting") orelse "";
    std.log.debug("greeting {s} {s}", .{ greeting, long });
    const headers = try arena.dupe(router.Header, &.{
        .text("first", word),
        .text("set", greeting),
    });
    return publish(arena, &.{.{ .headers = headers }});
}

fn publish(arena: std.mem.Allocator, publications: []const router.Publication) !router.Answer {
    return .{ .publish = try arena.dupe(router.Publication, publications) };
}

const letters: [2500][2]u8 = @splat("å".*);
const long = std.mem.asBytes(&letters);

test "a long line is cut at a character, and what is no UTF-8 is replaced" {
    router.log(.info, "an {s}", .{long});
    const line = router.fakes.logged()[0].message;
    try std.testing.expect(std.unicode.utf8ValidateSlice(line) and line.len <= 4096);
    try std.testing.expect(std.mem.endsWith(u8, line, "å… (956 more bytes are cut)"));
    router.log(.info, "{s}", .{"\xe5 \xc3\xa5 \xc3"});
    try std.testing.expectEqualStrings("\u{FFFD} å \u{FFFD}", router.fakes.logged()[1].message);
}
"#;

#[tokio::test]
async fn authors_in_zig() {
    if !has_tools("zig") {
        return;
    }
    let author = Author {
        language: Language::Zig,
        files: &[("src/plugin.zig", ZIG), ("src/word.zig", "pub const word = \"first\";\n")],
        links: &[],
        second_file: "src/word.zig",
        packages: &[],
    };
    let [panic, index, error] = author.works().await;
    let place = "panic: plugin.zig:26, in route: no unit employee.it.edit";
    says(&panic, &["trapped in plugin.route", place]);
    says(&index, &["trapped in plugin.deep", "index out of bounds: index 18, len 1"]);
    says(&error, &["panic: route returned error.NoUnit"]);

    // Its tests.
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write("own", Language::Zig, parent.path()).expect("a new project");
    for (path, content) in author.files {
        std::fs::write(folder.join(path), content).expect("written");
    }
    make(&folder, &["unit-test"]);
}

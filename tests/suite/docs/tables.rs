//! Tables of the documentation have what the program has, and nothing else: codes of readiness,
//! headers. Those of metrics are held to a router that runs, in tests/suite/monitoring.rs.

use std::collections::BTreeSet;
use std::path::Path;

use mo_router::health::Code;

use super::ROOT;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// What stands in backticks in a column of a page's table, which begins with this line; columns
/// count from 0.
fn column(page: &str, head: &str, number: usize) -> BTreeSet<String> {
    let text = file(page);
    let mut lines = text.lines().skip_while(|line| *line != head);
    assert!(lines.next().is_some(), "{page} has no table {head:?}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(number + 1).map(str::to_owned));
    // Every second part is between backticks.
    let spans = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    spans.collect()
}

fn codes(is_meant: impl Fn(Code) -> bool) -> BTreeSet<String> {
    let codes = Code::ALL.into_iter().filter(|code| is_meant(*code));
    codes.map(|code| code.as_str().to_owned()).collect()
}

#[test]
fn codes_of_readiness_are_those_of_the_program() {
    let page = "docs/operations.md";
    let not_ready = column(page, "| not ready | because |", 0);
    assert_eq!(not_ready, codes(|code| !code.is_only_told()), "{page}");
    let told = column(page, "| ready, with a warning | because |", 0);
    assert_eq!(told, codes(Code::is_only_told), "{page}");
}

/// Each reason has what to do: in the runbook of its alert, or an alert of its own.
#[test]
fn runbooks_have_every_reason_that_an_alert_is_for() {
    let of_runbooks = |section: &str| {
        let (_, text) = section.split_once("| reason | what it means | what to do |").unwrap();
        let rows = text.lines().skip(2).take_while(|line| line.starts_with("| `"));
        rows.filter_map(|row| row.split('`').nth(1).map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let runbooks = file("docs/runbooks.md");
    let section = |alert: &str| {
        let sections = runbooks.split("\n## ");
        let mut its = sections.filter(|section| section.lines().next() == Some(alert));
        its.next().unwrap_or_else(|| panic!("{alert} has no section")).to_owned()
    };
    let not_ready =
        codes(|code| !code.is_only_told() && !matches!(code, Code::Starting | Code::Stopping));
    assert_eq!(of_runbooks(&section("MoRouterNotReady")), not_ready);

    let alerts = file("deploy/monitoring/alerts.yaml");
    let (_, rest) = alerts.split_once("alert: MoRouterTold").unwrap();
    let (_, rest) = rest.split_once("reason=~\"").unwrap();
    let told: BTreeSet<String> =
        rest.split('"').next().unwrap().split('|').map(str::to_owned).collect();
    assert_eq!(of_runbooks(&section("MoRouterTold")), told);
    let has_its_own = |code: Code| {
        matches!(
            code,
            Code::PluginStale | Code::PluginSuspended | Code::DeadLetters | Code::Overdue
        )
    };
    assert_eq!(told, codes(|code| code.is_only_told() && !has_its_own(code)));
}

/// The page says what to do about a reason in both languages, or shows elsewhere what that is.
#[test]
fn the_page_knows_every_reason() {
    let todos = |language: &str| -> BTreeSet<String> {
        let text = file(&format!("src/daemon/http/page/texts/{language}.js"));
        let keys = text.lines().filter_map(|line| line.trim().strip_prefix("'todo_"));
        keys.filter_map(|key| key.split('\'').next().map(str::to_owned)).collect()
    };
    // The plugin itself has why, beside it.
    let shown = |code: Code| matches!(code, Code::PluginRefused | Code::SettlementStalled);
    let (mut all, needed) = (codes(|_| true), codes(|code| !shown(code)));
    // The page finds that out itself.
    all.insert("backlog".to_owned());
    for language in ["en", "da"] {
        let todos = todos(language);
        assert!(todos.is_subset(&all) && todos.is_superset(&needed), "{language}: {todos:?}");
    }
    assert_eq!(todos("en"), todos("da"));
}

#[test]
fn headers_are_those_of_the_program() {
    let program = include_str!("../../../src/event/headers.rs");
    let names = program.lines().filter_map(|line| {
        let (constant, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        let name = value.strip_suffix("\";")?.strip_prefix("mo-router-")?;
        // One of them begins the names of others.
        let name = if constant == "ORIGINAL" { "original-NAME" } else { name };
        (constant != "PREFIX").then(|| name.to_owned())
    });
    let program: BTreeSet<String> = names.collect();
    assert!(program.len() > 10, "{program:?}");

    let page = "docs/headers.md";
    let tables = [
        "| header | type | on | meaning |",
        "| header | who writes it | what for |",
        "| header | type | meaning |",
    ];
    let documented = tables.into_iter().flat_map(|head| column(page, head, 0));
    // The others are the broker's and those of traces.
    let documented: BTreeSet<String> =
        documented.filter_map(|name| name.strip_prefix("mo-router-").map(str::to_owned)).collect();
    assert_eq!(documented, program, "{page}");
}

//! Settings, variables, commands, options and metrics are called in the documentation what they
//! are called in the program.

use std::collections::{BTreeMap, BTreeSet};

use clap::Command;

use super::commands::{below, program};
use super::page::{self, Page};

/// Names of MO_ROUTER_… that are no settings: what Kubernetes sets, and placeholders.
const OTHER_VARIABLES: [&str; 6] = [
    "MO_ROUTER_CONFIG",
    "MO_ROUTER_IMPORT_FROM",
    "MO_ROUTER_LOG_FORMAT",
    "MO_ROUTER_RABBITMQ_SERVICE_HOST",
    "MO_ROUTER_<SECTION>_<KEY>",
    "MO_ROUTER_URL",
];

/// Pages that tell of what was.
fn is_history(page: &Page) -> bool {
    page.path == "CHANGELOG.md"
}

/// The sections of the settings with their keys, and all variables, as docs/settings.md has them,
/// which a test of its own holds to the program.
fn settings() -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let pages = page::documentation();
    let page = pages.iter().find(|page| page.path == "docs/settings.md").expect("docs/settings.md");
    let (mut sections, mut variables) = (BTreeMap::new(), BTreeSet::new());
    let mut section = String::new();
    for line in page.text.lines() {
        if let Some(name) = line.strip_prefix("### `[").and_then(|rest| rest.strip_suffix("]`")) {
            section = name.to_owned();
            sections.entry(section.clone()).or_insert_with(BTreeSet::new);
        } else if let Some(row) = line.strip_prefix("| `")
            && !section.is_empty()
        {
            let mut cells = row.split('`');
            let key = cells.next().unwrap_or_default().to_owned();
            sections.entry(section.clone()).or_default().insert(key);
            variables.extend(cells.nth(1).map(str::to_owned));
        }
    }
    assert!(sections.len() > 5 && variables.len() > 20, "docs/settings.md is read wrongly");
    (sections, variables)
}

#[test]
fn settings_are_called_what_they_are_called() {
    let (sections, variables) = settings();
    let mut wrong = Vec::new();
    for page in page::all().iter().filter(|page| !is_history(page)) {
        for (line, span) in page.spans() {
            if let Some(problem) = unknown_setting(&span, &sections) {
                wrong.push(format!("{}:{line}: `{span}`: {problem}", page.path));
            }
        }
        for (at, line) in page.text.lines().enumerate() {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "_<>".contains(c);
            let words = line.split(|c| !is_part(c)).filter(|word| word.starts_with("MO_ROUTER_"));
            let unknown = words.filter(|word| {
                !variables.contains(*word)
                    && !OTHER_VARIABLES.contains(word)
                    && !word.starts_with("MO_ROUTER_PLUGIN_")
            });
            wrong.extend(
                unknown.map(|word| format!("{}:{}: there is no {word}", page.path, at + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a span like `[amqp] exchange`.
fn unknown_setting(span: &str, sections: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let (name, rest) = span.strip_prefix('[')?.split_once(']')?;
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if name.is_empty() || !is_name(name) {
        return None; // JSON, Rust, …
    }
    let (section, is_plugin) = match name.strip_prefix("plugin.") {
        Some(_) => ("plugin.NAME", true),
        None => (name, false),
    };
    let Some(keys) = sections.get(section) else {
        // `[[case]]`, `[plugin]` of case files.
        return (!["plugin", "case"].contains(&name))
            .then(|| format!("there is no section [{name}]"));
    };
    let key = rest.trim().split([' ', '=']).next().unwrap_or_default();
    let is_open = is_plugin && (key.starts_with("config.") || key == "config");
    let limit = key.strip_prefix("limits.").filter(|_| is_plugin);
    let known = match limit {
        Some(limit) => limit == "*" || sections["limits"].contains(limit),
        None => keys.contains(key) || key == "limits" && is_plugin,
    };
    (!key.is_empty() && !is_open && !known).then(|| format!("[{name}] has no key {key:?}"))
}

#[test]
fn commands_are_called_what_they_are_called() {
    let program = program();
    let mut wrong = Vec::new();
    for page in page::all().iter().filter(|page| !is_history(page)) {
        let spans = page.spans().into_iter();
        let blocks = page.blocks().into_iter().filter(|block| block.language != "text");
        let lines = blocks.flat_map(|block| {
            let text = block.text.replace("\\\n", " ");
            text.lines().map(|line| (block.line, line.to_owned())).collect::<Vec<_>>()
        });
        for (line, text) in spans.chain(lines) {
            for call in calls(&text) {
                if let Some(problem) = unknown_command(&call, &program) {
                    wrong.push(format!(
                        "{}:{line}: mo-router {}: {problem}",
                        page.path,
                        call.join(" ")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The arguments of each `mo-router` in a line that is called as a command.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let mut calls = Vec::new();
    for command in line.split(['|', ';', '&', '(', ')']) {
        let mut words = command.split_whitespace().map(str::to_owned);
        let is_program = |word: &String| word == "mo-router" || word.ends_with("/mo-router");
        if words.by_ref().any(|word| is_program(&word)) {
            calls.push(words.collect());
        }
    }
    calls
}

/// What is wrong with a command line.
fn unknown_command(words: &[String], program: &Command) -> Option<String> {
    let mut command = program;
    let mut words = words.iter().peekable();
    // `mo-router` alone, or a sentence about it.
    let first = words.peek()?;
    if !first.starts_with("--") && !below(program).any(|one| one.get_name() == **first) {
        let looks_like_one = first.chars().all(|c| c.is_ascii_lowercase());
        return looks_like_one.then(|| format!("there is no command {first:?}"));
    }
    for word in words {
        if let Some(next) = below(command).find(|one| one.get_name() == word) {
            command = next;
            continue;
        }
        if let Some(option) = word.strip_prefix("--") {
            let option = option.split(['=', '`', ',', ']']).next().unwrap_or_default();
            let has = |command: &Command| {
                command.get_arguments().any(|arg| arg.get_long() == Some(option))
            };
            if !option.is_empty() && option != "help" && !has(command) && !has(program) {
                return Some(format!("{} has no option --{option}", command.get_name()));
            }
        } else if command.has_subcommands() && command.get_name() != program.get_name() {
            let named: Vec<&str> = word.split(['|', '/']).collect();
            let unknown = named.iter().find(|name| {
                name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                    && !below(command).any(|one| one.get_name() == **name)
            });
            if let Some(unknown) = unknown.filter(|name| !name.is_empty()) {
                return Some(format!("{} has no command {unknown:?}", command.get_name()));
            }
            break;
        }
    }
    None
}

/// Metrics are those of docs/metrics.md, which tests/suite/monitoring.rs holds to what a router
/// serves.
#[test]
fn metrics_are_called_what_they_are_called() {
    let pages = page::documentation();
    let reference = pages.iter().find(|page| page.path == "docs/metrics.md").expect("the page");
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| word.starts_with("mo_router_") && !word.ends_with('_'));
        ours.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
    };
    let known = names(&reference.text);
    // Tables of the delay store, and modules of the program.
    let others = [
        "mo_router_delayed",
        "mo_router_delayed_id_seq",
        "mo_router_imported",
        "mo_router_moved",
        "mo_router_schema",
    ];
    let mut wrong = Vec::new();
    for page in pages.iter().filter(|page| !is_history(page)) {
        let unknown = names(&page.text)
            .into_iter()
            .filter(|name| !known.contains(name) && !others.contains(&name.as_str()));
        wrong.extend(unknown.map(|name| format!("{}: there is no metric {name}", page.path)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

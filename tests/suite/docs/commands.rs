//! The reference of the commands is what the program says of itself.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use mo_router::cli::Cli;

use super::{ROOT, updates};

const PAGE: &str = "docs/commands.md";
/// What stands behind this line is made of the program.
const MADE: &str = "<!-- What follows is made by `UPDATE_DOCS=1 cargo test --release --test suite docs::commands`. -->\n\n";

/// The program with all its commands.
pub fn program() -> Command {
    let mut program = Cli::command().term_width(100);
    program.build();
    program
}

/// The commands of a command that people see.
pub fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

#[test]
fn the_reference_is_what_the_program_says_of_itself() {
    let path = Path::new(ROOT).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (prose, made) = page.split_once(MADE).expect("the page has a part that is made");
    let mut reference = String::new();
    for command in below(&program()) {
        describe(command, &format!("mo-router {}", command.get_name()), &mut reference);
    }
    if updates() {
        std::fs::write(path, format!("{prose}{MADE}{}", reference.trim_end().to_owned() + "\n"))
            .unwrap();
    } else {
        assert_eq!(made.trim_end(), reference.trim_end(), "UPDATE_DOCS=1 writes {PAGE}");
    }
}

/// A section for a command, and one for each below it.
fn describe(command: &Command, name: &str, page: &mut String) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let about = about.unwrap_or_default();
    let mut lines = about.split("\n\n");
    let first = lines.next().unwrap_or_default();
    let first = first.trim_end_matches('.');
    let _ = write!(page, "## `{name}`\n\n{}.\n\n", escaped(first));
    for paragraph in lines {
        let _ = write!(page, "{}\n\n", escaped(paragraph));
    }
    let mut below = below(command).peekable();
    if below.peek().is_none() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let _ = write!(page, "```text\n{usage}\n```\n\n");
    }
    let own = |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set() && !is_help(arg);
    let mut arguments = command.get_arguments().filter(own).peekable();
    if arguments.peek().is_some() {
        page.push_str("| | |\n|---|---|\n");
        arguments.for_each(|arg| row(arg, page));
        page.push('\n');
    }
    for command in below {
        describe(command, &format!("{name} {}", command.get_name()), page);
    }
}

fn is_help(arg: &Arg) -> bool {
    ["help", "version"].contains(&arg.get_id().as_str())
}

fn row(arg: &Arg, page: &mut String) {
    let value = match arg.get_action().takes_values() {
        true => arg
            .get_value_names()
            .unwrap_or_default()
            .iter()
            .map(clap::builder::Str::as_str)
            .collect(),
        false => Vec::new(),
    };
    let value = value.join(" ");
    let shown = match arg.get_long() {
        Some(long) => {
            let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
            format!("{short}--{long} {value}").trim_end().to_owned()
        }
        None => value,
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
    let mut help = escaped(&help.unwrap_or_default().replace('\n', " "));
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !possible.is_empty() && arg.get_action().takes_values() {
        help += &format!(": {}", possible.join(", "));
    }
    let default: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !default.is_empty() && arg.get_action().takes_values() {
        help += &format!("; default: `{}`", default.join(" "));
    }
    let _ = writeln!(page, "| `{shown}` | {help} |");
}

/// Text that Markdown takes for nothing else, in a table too.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

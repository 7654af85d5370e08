//! Running commands of a page: one after the other in one shell, in a folder of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::cast::{self, Take};
use super::page::Block;
use super::{ROOT, updates};
use crate::support::languages::has_tools;
use crate::support::plugins;
use crate::support::ports::free_port;
use crate::support::postgres::Server;
use crate::support::router::ROUTER;
use crate::support::scene::Scene;

/// How many seconds a page may take: on a busy machine, building a plugin takes minutes.
const LONGEST: &str = "1500";

/// What a block needs, and how it is run.
///
/// | word | |
/// |---|---|
/// | `fresh` | In a new folder; otherwise in that of the page's block before it. |
/// | `broker`, `postgres` | There is a broker (`AMQP_URL`), a database of mo-delay-agent's (`AGENT_DATABASE`). |
/// | `plugin NAME` | A plugin of this name, which forwards, is in the folder `plugins`. |
/// | `project LANGUAGE NAME` | There is a new project, and this is its folder. |
/// | `router` | A router runs on the broker. |
/// | `tools LANGUAGE` | Skipped where the language's tools cannot be had. |
/// | `with A=B` | `A` is replaced by `B`, in which the shell's `$REPO` is the repository. |
/// | `first COMMAND` | This is run before it. |
/// | `cast NAME` | What its commands, one in a line, print is in `docs/casts/NAME.cast`. |
/// | `fails` | Its last command ends with a failure. |
/// | `terminals TEXT` | Each line is a terminal of its own: those before the last go on, and one of them prints `TEXT`. |
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub fresh: bool,
    broker: bool,
    postgres: bool,
    router: bool,
    fails: bool,
    plugins: Vec<String>,
    project: Option<(String, String)>,
    tools: Vec<String>,
    with: Vec<(String, String)>,
    terminals: Option<String>,
    first: Option<String>,
    cast: Option<String>,
}

impl Terms {
    /// Reads what stands behind `run`.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut terms = Self::default();
        let text = text.trim_start_matches(':');
        for term in text.split(';').map(str::trim).filter(|term| !term.is_empty()) {
            let (word, rest) = term.split_once(' ').unwrap_or((term, ""));
            match (word, rest.split_once(' ')) {
                ("fresh", _) => terms.fresh = true,
                ("broker", _) => terms.broker = true,
                ("postgres", _) => terms.postgres = true,
                ("router", _) => (terms.router, terms.broker) = (true, true),
                ("fails", _) => terms.fails = true,
                ("plugin", _) => terms.plugins.push(rest.into()),
                ("project", Some((language, name))) => {
                    terms.project = Some((language.into(), name.into()));
                    terms.tools.push(language.into());
                }
                ("tools", _) => terms.tools.push(rest.into()),
                ("cast", _) => terms.cast = Some(rest.into()),
                ("first", _) => terms.first = Some(rest.into()),
                ("terminals", _) => terms.terminals = Some(rest.into()),
                ("with", _) => {
                    let (old, new) = rest.split_once('=').ok_or(format!("no = in {term:?}"))?;
                    terms.with.push((old.into(), new.into()));
                }
                _ => return Err(format!("nobody knows what {term:?} is")),
            }
        }
        Ok(terms)
    }
}

/// A command, and what the page shows of its output.
struct Step {
    place: String,
    command: String,
    shown: Vec<String>,
    /// The recording that it is part of.
    cast: Option<String>,
}

/// The languages without whose tools, which cannot be had, the blocks cannot be run.
pub fn without_tools(blocks: &[(Block, Terms)]) -> Vec<&str> {
    let tools = blocks.iter().flat_map(|(_, terms)| &terms.tools).map(String::as_str);
    tools.filter(|tools| *tools != "rust" && !has_tools(tools)).collect()
}

/// Runs the blocks of a page that share a folder. Gives what is wrong.
pub async fn session(blocks: &[(Block, Terms)]) -> Option<String> {
    let all = || blocks.iter().map(|(_, terms)| terms);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for plugin in all().flat_map(|terms| &terms.plugins) {
        std::fs::create_dir_all(path("plugins")).unwrap();
        std::fs::copy(plugins::scripted(), path(&format!("plugins/{plugin}.wasm"))).unwrap();
    }
    let scene = match all().any(|terms| terms.broker) {
        true => Some(Scene::shared().await),
        false => None,
    };
    let server = all().any(|terms| terms.postgres).then(Server::shared);

    let steps: Vec<Step> = blocks.iter().flat_map(|(block, terms)| steps(block, terms)).collect();
    let mut script =
        String::from("set -eu -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    if let Some((language, name)) = all().find_map(|terms| terms.project.as_ref()) {
        script += &format!("mo-router plugin new {name} --lang {language} >/dev/null\ncd {name}\n");
    }
    if all().any(|terms| terms.router) {
        script += "AMQP_ENABLE=true mo-router run >/dev/null 2>\"$OUT/router.log\" &\n\
                   until grep -q ' ready' \"$OUT/router.log\"; do sleep 0.2; done\n";
    }
    for (number, step) in steps.iter().enumerate() {
        let command = &step.command;
        script +=
            &format!("echo {number} >\"$OUT/step\"\n{{\n{command}\n}} >\"$OUT/{number}\" 2>&1\n");
    }
    std::fs::write(path("script.sh"), &script).unwrap();
    std::fs::create_dir(path("out")).unwrap();
    let port = free_port();
    let program = Path::new(ROUTER).parent().unwrap().display().to_string();
    let mut command = Command::new("timeout");
    command
        .args([LONGEST, "bash", "script.sh"])
        .current_dir(folder.path())
        .env("PATH", format!("{program}:{}", variable("PATH")))
        .env("OUT", path("out"))
        .env("REPO", ROOT)
        .env("MO_ROUTER_HTTP_LISTEN", format!("127.0.0.1:{port}"))
        .env("MO_ROUTER_PLUGINS_CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/code"))
        .env_remove("MAKEFLAGS")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(scene) = &scene {
        command.env("AMQP_URL", &scene.url);
    }
    if let Some(server) = &server {
        command.env("AGENT_DATABASE", agent_database(server));
    }
    let output = command.output().await.unwrap();
    let out = |name: &str| std::fs::read_to_string(path("out").join(name)).unwrap_or_default();
    if !output.status.success() {
        let number: usize = out("step").trim().parse().unwrap_or_default();
        let said = out(&number.to_string()) + &String::from_utf8_lossy(&output.stderr);
        let step = &steps[number];
        return Some(format!(
            "{}: {}:\n{}\n{said}\n{}",
            step.place,
            output.status,
            step.command,
            out("router.log")
        ));
    }
    let here = folder.path().display().to_string();
    let take = |number: usize| Take {
        command: steps[number].command.clone(),
        printed: out(&number.to_string())
            .replace(&here, "/home/you")
            .replace(&variable("HOME"), "/home/you"),
    };
    casts(&steps, take).or_else(|| {
        steps.iter().enumerate().find_map(|(number, step)| {
            let printed = out(&number.to_string());
            let missing = missing_line(&step.shown, &printed)?;
            Some(format!("{}: {missing:?} is not in what is printed:\n{printed}", step.place))
        })
    })
}

/// Makes the recordings, or says what is wrong with those that there are.
fn casts(steps: &[Step], take: impl Fn(usize) -> Take) -> Option<String> {
    let mut casts: BTreeMap<&str, Vec<Take>> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        if let Some(name) = &step.cast {
            casts.entry(name).or_default().push(take(number));
        }
    }
    casts.into_iter().find_map(|(name, takes)| match updates() {
        true => {
            cast::record(name, &takes);
            None
        }
        false => cast::compare(name, &takes),
    })
}

#[expect(clippy::disallowed_methods, reason = "the commands of the page need the same tools")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// A database as mo-delay-agent leaves it.
fn agent_database(server: &Server) -> String {
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    server.sql(
        name,
        r#"CREATE TABLE messages (id serial PRIMARY KEY, message text, topic text, produce_at timestamptz);
           INSERT INTO messages (message, topic, produce_at) SELECT
               '{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"}', 'employee.it.create', '2999-01-01'
           FROM generate_series(1, 3)"#,
    );
    url
}

/// The commands of a block.
fn steps(block: &Block, terms: &Terms) -> Vec<Step> {
    let mut text = block.text.clone();
    for (old, new) in &terms.with {
        assert!(text.contains(old.as_str()), "{}: there is no {old:?}", block.place());
        text = text.replace(old.as_str(), new);
    }
    let step = |command: String| Step {
        place: block.place(),
        command,
        shown: Vec::new(),
        cast: terms.cast.clone(),
    };
    if let Some(expected) = &terms.terminals {
        return vec![step(terminals(&text, expected))];
    }
    let mut steps: Vec<Step> = terms.first.iter().cloned().map(step).collect();
    match block.language.as_str() {
        "console" => steps.extend(console(&text, step)),
        _ if terms.cast.is_some() => {
            let lines: String = text.lines().map(|line| format!("$ {line}\n")).collect();
            steps.extend(console(&lines, step));
        }
        _ => steps.push(step(text)),
    }
    if let Some(last) = steps.last_mut().filter(|_| terms.fails) {
        last.command = format!("if (\n{}\n); then exit 99; fi", last.command);
    }
    steps
}

/// The commands behind `$ `, each with what is shown as its output. A command goes on in the next
/// line after `\` or `|`, or within a quotation.
fn console(text: &str, step: impl Fn(String) -> Step) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let goes_on = |command: &str| {
        command.ends_with(['\\', '|'])
            || command.matches('\'').count() % 2 == 1
            || command.matches('"').count() % 2 == 1
    };
    for line in text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(step(command.to_owned())),
            (None, Some(last)) if last.shown.is_empty() && goes_on(&last.command) => {
                last.command += &format!("\n{line}");
            }
            (None, Some(last)) => last.shown.push(line.to_owned()),
            (None, None) => panic!("a console begins with `$ `: {text}"),
        }
    }
    steps
}

/// The lines but the last in the background, until one of them prints the text.
fn terminals(text: &str, expected: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let (last, others) = lines.split_last().expect("it has lines");
    let started = others.iter().enumerate().map(|(number, line)| {
        format!(
            "{line} >\"$OUT/terminal-{number}\" 2>&1 &\n\
             until grep -qE ' ready|listening' \"$OUT/terminal-{number}\"; do sleep 0.2; done\n"
        )
    });
    let started: String = started.collect();
    format!(
        "{started}{last}\nuntil cat \"$OUT\"/terminal-* | grep -q '{expected}'; do sleep 0.2; done"
    )
}

/// The first of the shown lines that is not among what was printed, after those before it. `…`
/// stands for anything, and a line of it alone for any lines.
fn missing_line<'a>(shown: &'a [String], printed: &str) -> Option<&'a str> {
    let mut printed = printed.lines();
    shown
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.is_empty() && *line != "…")
        .find(|line| !printed.by_ref().any(|other| is_like(other.trim_end(), line)))
}

/// Whether a line is as shown.
fn is_like(line: &str, shown: &str) -> bool {
    let mut pieces = shown.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_is_shown_is_found_in_what_is_printed() {
    let shown = ["a … z".to_owned(), "…".to_owned(), "end".to_owned()];
    assert_eq!(missing_line(&shown, "first\na b z\nmiddle\nend\n"), None);
    assert_eq!(missing_line(&shown, "end\na b z\n"), Some("end"));
    assert_eq!(missing_line(&shown, "a b\nend\n"), Some("a … z"));
}

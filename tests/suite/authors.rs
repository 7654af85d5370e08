//! What authors of plugins meet, in each language: a second source file, a package, settings, time
//! zones, failures that say where they come from, files that say what they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use mo_router::event::{Datetime, Due, Failure, Publication};
use mo_router::plugins::Metadata;
use mo_router::scaffold::{self, Language};

use crate::languages::route;
use crate::support::languages::{has_tools, make};
use crate::support::plugins;

/// A plugin that does something else for each action.
pub struct Author {
    pub language: Language,
    /// Files to write into a new project: path and content. They may lie beside it.
    pub files: &'static [(&'static str, &'static str)],
    /// Links to make in it: path and where it leads.
    pub links: &'static [(&'static str, &'static str)],
    /// One of the files, which is not the main one; `first` in it becomes `second`.
    pub second_file: &'static str,
    /// Lines of a package's name to append to a file.
    pub packages: &'static [(&'static str, &'static str)],
}

/// 08:00 in Copenhagen on the days when daylight saving time begins and ends in 2024.
const MORNINGS: [i64; 2] = [1_711_864_800, 1_730_012_400];

impl Author {
    /// Builds the plugin, and gives the reasons of its failures: for the actions `edit`, `update`
    /// and `refresh`.
    pub async fn works(&self) -> [String; 3] {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = scaffold::write("own", self.language, parent.path()).expect("a new project");
        for (path, content) in self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("written");
        }
        for (path, target) in self.links {
            std::os::unix::fs::symlink(target, folder.join(path)).expect("a link");
        }
        for (path, more) in self.packages {
            let path = folder.join(path);
            let content = fs::read_to_string(&path).expect("it is there");
            let content = match more.split_once("=>") {
                Some((old, new)) => content.replace(old, new),
                None => content + more,
            };
            fs::write(path, content).expect("written");
        }
        let built = || {
            make(&folder, &["all"]);
            fs::read(folder.join("build/own.wasm")).expect("a built plugin")
        };
        let first = built();
        // Where it was built is nobody's business, and would make another file of it. Python and
        // JavaScript are started when they are built, and remember.
        use Language::{JavaScript, Python, TypeScript};
        if !matches!(self.language, Python | JavaScript | TypeScript) {
            for path in [&std::env::home_dir().expect("a home"), &folder] {
                let path = path.display().to_string();
                assert!(!contains(&first, &path), "{:?}: {path} is in the file", self.language);
            }
        }

        // The second file, and the setting.
        let config = [("greeting", "hej")];
        let greeted = |word: &str| {
            let headers = vec![("first".to_owned(), word.into()), ("set".into(), "hej".into())];
            Ok(vec![Publication { headers, ..Publication::default() }])
        };
        let created = "employee.it.create";
        assert_eq!(route(&first, &config, created).await, greeted("first"));

        let mornings = route(&first, &config, "employee.it.terminate").await.expect("an answer");
        let due: Vec<Due> = mornings.into_iter().map(|publication| publication.due).collect();
        let at = |seconds| Due::At(Datetime::from_unix(seconds, 0).expect("a time"));
        assert_eq!(due, MORNINGS.map(at), "{:?}", self.language);

        let mut reasons = Vec::new();
        for action in ["edit", "update", "refresh"] {
            let answer = route(&first, &config, &format!("employee.it.{action}")).await;
            reasons.push(match answer {
                Err(Failure::Broken(reason, _)) => reason,
                answer => format!("{answer:?}"),
            });
        }

        // Unchanged, it is the same; changed in its second file, another one.
        make(&folder, &["clean"]);
        assert!(built() == first, "{:?}: the same sources give another plugin", self.language);
        let second = folder.join(self.second_file);
        let content = fs::read_to_string(&second).expect("it is there");
        fs::write(&second, content.replace("first", "second")).expect("written");
        assert_eq!(route(&built(), &config, created).await, greeted("second"));

        self.says_what_it_is(&folder, &built).await;
        reasons.try_into().expect("three")
    }

    /// Version, commit and tools are in the file.
    async fn says_what_it_is(&self, folder: &Path, built: &dyn Fn() -> Vec<u8>) {
        let git = |arguments: &[&str]| {
            let git = Command::new("git")
                .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
                .args(arguments)
                .current_dir(folder)
                .output();
            let output = git.expect("git runs");
            assert!(output.status.success(), "git {arguments:?}: {output:?}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        git(&["init", "-q"]);
        git(&["remote", "add", "origin", "https://user:secret@example.org/own.git"]);
        git(&["add", "-A"]);
        git(&["commit", "-qm", "first"]);
        let commit = git(&["rev-parse", "HEAD"]);
        let first = built();
        let clean = metadata(first.clone()).await;
        assert_eq!(clean.name.as_deref(), Some("own"), "{clean:?}");
        assert_eq!(clean.version.as_deref(), Some("0.1.0"), "{clean:?}");
        assert_eq!(clean.revision.as_deref(), Some(&*commit), "{clean:?}");
        assert_eq!(clean.source.as_deref(), Some("https://example.org/own.git"));
        assert!(!clean.tools.is_empty() && !clean.languages.is_empty(), "{clean:?}");
        // Its cases, what is told of it and hidden files are no part of it, before and after they are
        // committed.
        fs::create_dir(folder.join(".idea")).expect("made");
        fs::write(folder.join(".idea/workspace.xml"), "").expect("written");
        fs::write(folder.join(".editorconfig"), "").expect("written");
        for path in ["own.cases.toml", "README.md"] {
            append(&folder.join(path), "\n# More.\n");
        }
        assert!(built() == first, "{:?}: other cases give another plugin", self.language);
        git(&["add", "-A"]);
        git(&["commit", "-qm", "second"]);
        assert!(built() == first, "{:?}: other cases give another plugin", self.language);
        git(&["rm", "-q", "--cached", "Makefile"]);
        let dirty = metadata(built()).await;
        assert_eq!(dirty.revision, Some(format!("{commit}-dirty")));
    }
}

/// What the router reads in a plugin's file.
async fn metadata(content: Vec<u8>) -> Metadata {
    let host = plugins::compiling_host();
    let plugin =
        plugins::load_on(&host, content, &plugins::settings()).await.expect("the plugin loads");
    let build = plugin.metadata.build().expect("it says which build it is");
    assert_eq!(plugin.label, format!("{} ({build})", plugin.version));
    plugin.metadata.clone()
}

/// A reason has all of these.
pub fn says(reason: &str, all: &[&str]) {
    for part in all {
        assert!(reason.contains(part), "{part:?} is not in: {reason}");
    }
}

const RUST: &str = r#"
mod router;

use chrono::TimeZone;
use chrono_tz::Europe::Copenhagen;
use router::{Datetime, Due, Event, Failure, Publication, setting};

fn subscriptions() -> Vec<String> {
    vec!["employee.#".to_owned()]
}

fn morning(month: u32, day: u32) -> Publication {
    let at = Copenhagen.with_ymd_and_hms(2024, month, day, 8, 0, 0).unwrap();
    Publication { due: Due::At(Datetime { seconds: at.timestamp(), nanoseconds: 0 }), ..Default::default() }
}

#[inline(never)]
fn deep(numbers: &[u32]) -> u32 {
    numbers[std::hint::black_box(7)]
}

fn route(event: Event) -> Result<Vec<Publication>, Failure> {
    let word = include_str!("word.txt").trim().to_owned();
    match event.topic.action.as_deref() {
        Some("terminate") => return Ok(vec![morning(3, 31), morning(10, 27)]),
        Some("edit") => panic!("no unit {}", event.routing_key),
        Some("update") => return Err(Failure::Retry(deep(&[1]).to_string())),
        Some("refresh") => return Err(Failure::Reject(String::new())),
        _ => {}
    }
    let headers =
        vec![("first".to_owned(), word.into()), ("set".to_owned(), setting("greeting", "").into())];
    Ok(vec![Publication { headers, ..Default::default() }])
}
"#;

#[tokio::test]
async fn authors_in_rust() {
    let author = Author {
        language: Language::Rust,
        files: &[("src/lib.rs", RUST), ("src/word.txt", "first\n")],
        links: &[],
        second_file: "src/word.txt",
        packages: &[(
            "Cargo.toml",
            "[dependencies]=>[dependencies]\nchrono = { version = \"0.4\", default-features = false }\n\
             chrono-tz = { version = \"0.10\", default-features = false }",
        )],
    };
    let [panic, index, reject] = author.works().await;
    says(
        &panic,
        &["trapped in own::route", "panicked at src/lib.rs:26", "no unit employee.it.edit"],
    );
    says(&index, &["trapped in own::deep", "src/lib.rs:19", "len is 1 but the index is 7"]);
    says(&reject, &["answered `reject` without a reason"]);
}

const PYTHON: &str = r#"
import logging
import sys

import mo_router
from mo_router import Event, Publication
from wit_world.imports import store
from wit_world.imports.types import Datetime, Due_At

import helper


def morning(month, day):
    from datetime import datetime
    from zoneinfo import ZoneInfo
    at = datetime(2024, month, day, 8, tzinfo=ZoneInfo("Europe/Copenhagen"))
    return Publication(due=Due_At(Datetime(int(at.timestamp()), 0)))


class Filter(mo_router.Filter):
    def subscriptions(self):
        return ["employee.#"]

    def route(self, event: Event):
        match event.topic.action:
            case "terminate":
                return [morning(3, 31), morning(10, 27)]
            case "edit":
                for number in range(9):
                    print("line", number, file=sys.stderr)
                helper.one({})
            case "update":
                return [Publication(headers={"a": "b"})]
            case "refresh":
                sys.exit(3)
        import iniconfig
        return [Publication(headers=[("first", helper.WORD), ("set", store.get("greeting"))])]
"#;

const PYTHON_HELPER: &str = r#"
WORD = "first"

def one(found): two(found)
def two(found): three(found)
def three(found): four(found)
def four(found): five(found)
def five(found):
    return found["unit"]
"#;

#[tokio::test]
async fn authors_in_python() {
    if !has_tools("python") {
        return;
    }
    let author = Author {
        language: Language::Python,
        files: &[("plugin.py", PYTHON), ("../shared/helper.py", PYTHON_HELPER)],
        links: &[("helper.py", "../shared/helper.py")],
        second_file: "../shared/helper.py",
        packages: &[("requirements.txt", "iniconfig\nMarkupSafe\n")],
    };
    let [exception, headers, exit] = author.works().await;
    says(&exception, &["KeyError: 'unit'", "at helper.py:9, in five"]);
    let expected = "publications[0].headers: expected a list of (str, value), got dict {'a': 'b'}";
    says(&headers, &[expected]);
    says(&exit, &["sys.exit(3), at plugin.py:35"]);
}

const GO: &str = r#"package filter

import (
	_ "embed"
	"time"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/own/bindings/imports/os2mo_router_types"
	"mo-plugin/own/router"
)

//go:embed word.txt
var word string

func Subscriptions() []string {
	return []string{"employee.#"}
}

func morning(month time.Month, day int) Publication {
	zone, err := time.LoadLocation("Europe/Copenhagen")
	if err != nil {
		panic(err)
	}
	at := time.Date(2024, month, day, 8, 0, 0, 0, zone)
	return Publication{Due: MakeDueAt(Datetime{Seconds: at.Unix()})}
}

func deep(numbers []int, at int) int {
	return numbers[at]
}

func Route(event Event) Result[[]Publication, Failure] {
	switch event.Topic.Action.SomeOr("") {
	case "terminate":
		return Ok[[]Publication, Failure]([]Publication{morning(3, 31), morning(10, 27)})
	case "edit":
		panic("no unit")
	case "update":
		deep(nil, len(event.RoutingKey))
	case "refresh":
		return Err[[]Publication, Failure](MakeFailureRetry(""))
	}
	router.Log(router.Info, "latin-1", "\xe5")
	headers := []router.Header{
		{F0: "first", F1: MakeValueText(word)},
		{F0: "set", F1: MakeValueText(router.Setting("greeting", ""))},
	}
	return Ok[[]Publication, Failure]([]Publication{{Headers: headers}})
}
"#;

#[tokio::test]
async fn authors_in_go() {
    if !has_tools("go") {
        return;
    }
    let author = Author {
        language: Language::Go,
        files: &[("filter/filter.go", GO), ("filter/word.txt", "first")],
        links: &[],
        second_file: "filter/word.txt",
        packages: &[],
    };
    let [panic, index, retry] = author.works().await;
    says(&panic, &["panic: no unit", "filter/filter.go:37"]);
    says(&index, &["index out of range", "filter/filter.go:29"]);
    says(&retry, &["answered `retry` without a reason"]);
}

const C: &str = r#"
#include <assert.h>
#include <stdlib.h>

#include "bindings/plugin.h"
#include "copenhagen.h"
#include "headers.h"
#include "logging.h"
#include "words.h"

void exports_os2mo_router_filter_subscriptions(plugin_list_string_t *patterns) {
    patterns->len = 1;
    patterns->ptr = malloc(sizeof *patterns->ptr);
    plugin_string_dup(patterns->ptr, "employee.#");
}

__attribute__((noinline)) static void deep(void) { __builtin_trap(); }

bool exports_os2mo_router_filter_route(exports_os2mo_router_filter_event_t *event,
                                       exports_os2mo_router_filter_list_publication_t *publications,
                                       exports_os2mo_router_filter_failure_t *failure) {
    publications->len = 1;
    publications->ptr = calloc(2, sizeof *publications->ptr);
    switch (event->topic.action.val.ptr[0]) {
    case 't':
        publications->len = 2;
        for (int i = 0; i < 2; i++) {
            publications->ptr[i].due.tag = OS2MO_ROUTER_TYPES_DUE_AT;
        }
        publications->ptr[0].due.val.at.seconds = copenhagen_time(days_of(2024, 3, 31), 8, 0);
        publications->ptr[1].due.val.at.seconds = copenhagen_time(days_of(2024, 10, 27), 8, 0);
        return true;
    case 'e':
        assert(!"no unit");
    case 'u':
        deep();
    case 'r':
        failure->tag = OS2MO_ROUTER_TYPES_FAILURE_REJECT;
        failure->val.reject = (plugin_string_t){NULL, 0};
        return false;
    }
    log_line(WASI_LOGGING_LOGGING_LEVEL_INFO, "\xe5");
    plugin_string_t key;
    plugin_option_string_t value;
    wasi_config_store_error_t error;
    plugin_string_set(&key, "greeting");
    wasi_config_store_get(&key, &value, &error);
    add_text_header(publications->ptr, "first", WORD);
    os2mo_router_types_value_t set = {.tag = OS2MO_ROUTER_TYPES_VALUE_TEXT, .val.text = value.val};
    add_header(publications->ptr, "set", set);
    return true;
}
"#;

#[tokio::test]
async fn authors_in_c() {
    if !has_tools("c") {
        return;
    }
    let author = Author {
        language: Language::C,
        files: &[
            ("plugin.c", C),
            ("../shared/words.h", "#include \"../shared/word.h\"\n"),
            ("../shared/word.h", "#define WORD \"first\"\n"),
        ],
        links: &[("words.h", "../shared/words.h")],
        second_file: "../shared/word.h",
        packages: &[],
    };
    let [assertion, trap, reject] = author.works().await;
    says(&assertion, &["Assertion failed", "no unit", "plugin.c"]);
    says(&trap, &["trapped in deep"]);
    says(&reject, &["answered `reject` without a reason"]);
}

/// Whether the text is in the file.
pub fn contains(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Adds to a file's end.
pub fn append(path: &Path, more: &str) {
    let content = fs::read_to_string(path).expect("it is there");
    fs::write(path, content + more).expect("written");
}

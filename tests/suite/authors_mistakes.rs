//! What is wrong in a plugin is named: when it is built, and of what it answers.

use std::fs;
use std::path::Path;
use std::process::Command;

use mo_router::event::{Failure, Publication};
use mo_router::scaffold::{self, Language};

use crate::authors::{append, says};
use crate::languages::route;
use crate::support::languages::{has_tools, project};

const SANDBOX: &str = r"
import { log } from 'wasi:logging/logging@0.1.0-draft';

export const filter = {
  subscriptions: () => ['employee.#'],
  route: ({ topic }) => {
    switch (topic.action) {
      case 'create':
        fetch('https://example.org');
      case 'edit':
        new Date(0).toLocaleString('da');
      case 'update':
        return {};
      case 'refresh':
        return [{ headers: { a: 'b' } }];
      case 'number':
        [1234.5].toLocaleString('da');
      case 'delay':
        return [{ due: { tag: 'after', val: -1n } }];
      case 'stamp':
        return [{}, { timestamp: 2n ** 64n }];
      case 'past':
        return [{ due: { tag: 'at', val: { seconds: 2n ** 63n } } }];
      case 'big':
        throw { tag: 'other', unit: 5n };
      case 'circle':
        const circle = { unit: 7, of: null };
        circle.of = circle;
        throw circle;
    }
    setTimeout(() => log('info', '', ''), 1);
  },
};
";

#[tokio::test]
async fn what_javascript_lacks_and_answers_wrongly_is_named() {
    if !has_tools("javascript") {
        return;
    }
    let plugin = project(Language::JavaScript, |folder| {
        fs::write(folder.join("plugin.js"), SANDBOX).expect("written");
    });
    for (action, expected) in [
        ("create", "a plugin has no network"),
        ("edit", "a plugin has no Intl"),
        ("update", "publications: expected a list, got object {}"),
        ("refresh", "publications[0].headers: expected a list, got object {\"a\":\"b\"}"),
        ("terminate", "timers never fire in a plugin"),
        ("number", "Number.prototype.toLocaleString: a plugin has no Intl"),
        (
            "delay",
            "publications[0].due.val: expected a BigInt from 0n to 18446744073709551615n, got bigint -1n",
        ),
        ("stamp", "publications[1].timestamp: expected a BigInt from 0n to 18446744073709551615n"),
        ("past", "publications[0].due.val.seconds: expected a BigInt from -9223372036854775808n"),
        ("big", r#"thrown: {"tag":"other","unit":"5n"}"#),
        ("circle", r#"thrown: {"unit":7,"of":"…"}"#),
    ] {
        breaks(&plugin, action, expected).await;
    }
}

/// The call with this action fails, with this in the reason.
async fn breaks(plugin: &[u8], action: &str, expected: &str) {
    match route(plugin, &[], &format!("employee.it.{action}")).await {
        Err(Failure::Broken(reason, _)) => says(&reason, &[expected]),
        answer => panic!("{action}: {answer:?}"),
    }
}

const WRONG: &str = r#"
import mo_router
from componentize_py_types import Err
from mo_router import Publication
from wit_world.imports import types


def misspelt():
    publication = Publication()
    publication.routingKey = "a"
    return publication


class Own(Publication):
    def __init__(self):
        super().__init__(routing_key="own")
        self.unit = "its own"


class Filter(mo_router.Filter):
    def subscriptions(self):
        return ["employee.#"]

    def route(self, event):
        match event.topic.action:
            case "delay":
                return [Publication(due=types.Due_After(-1))]
            case "urgent":
                return [Publication(), Publication(priority=256)]
            case "stamp":
                return [Publication(timestamp=1 << 64)]
            case "past":
                return [Publication(due=types.Due_At(types.Datetime(0, 1_000_000_000)))]
            case "count":
                return [Publication(headers=[("n", [types.Value_Int8(128)])])]
            case "rate":
                return [Publication(headers=[("n", types.Value_Decimal(types.Decimal(-1, 0)))])]
            case "name":
                return [Publication(routing_key="a\udce5")]
            case "text":
                return [Publication(headers=[("n", [1, "a\udce5"])])]
            case "table":
                return [Publication(headers=[("n", {"a\udce5": 1})])]
            case "pair":
                return [Publication(headers=[("a\udce5", 1)])]
            case "refuse":
                raise Err(types.Failure_Reject("no unit \udce5"))
            case "misspell":
                return [misspelt()]
        return [Own()]
"#;

#[tokio::test]
async fn what_python_answers_wrongly_is_named() {
    if !has_tools("python") {
        return;
    }
    let plugin = project(Language::Python, |folder| {
        fs::write(folder.join("plugin.py"), WRONG).expect("written");
    });
    for (action, expected) in [
        (
            "delay",
            "publications[0].due.value: expected a number from 0 to 18446744073709551615, got int -1",
        ),
        ("urgent", "publications[1].priority: expected a number from 0 to 255, got int 256"),
        ("stamp", "publications[0].timestamp: expected a number from 0 to 18446744073709551615"),
        ("past", "publications[0].due.value.nanoseconds: expected a number from 0 to 999999999"),
        (
            "count",
            "publications[0].headers[0][1][0].value: expected a number from -128 to 127, got int 128",
        ),
        ("rate", "publications[0].headers[0][1].value.scale: expected a number from 0 to 255"),
        // What Python has read as bytes that are no text.
        ("name", r"publications[0].routing_key: str 'a\udce5' is no text that can be sent"),
        ("text", r"publications[0].headers[0][1][1]: str 'a\udce5' is no text"),
        ("table", r"publications[0].headers[0][1], a name: str 'a\udce5' is no text"),
        ("pair", r"publications[0].headers[0][0]: str 'a\udce5' is no text"),
        (
            "misspell",
            "publications[0].routingKey: there is no such field; did you mean routing_key?",
        ),
    ] {
        breaks(&plugin, action, expected).await;
    }
    let refused = route(&plugin, &[], "employee.it.refuse").await;
    assert_eq!(refused, Err(Failure::Reject("no unit ?".into())));
    // A class of the author's may have more.
    let own = Publication { routing_key: Some("own".into()), ..Publication::default() };
    assert_eq!(route(&plugin, &[], "employee.it.create").await, Ok(vec![own]));
}

/// What `make` says of a new project that cannot be built.
pub fn refused(language: Language, edit: impl FnOnce(&Path)) -> String {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write("own", language, parent.path()).expect("a new project");
    edit(&folder);
    let output = Command::new("make").current_dir(&folder).env_remove("MAKEFLAGS").output();
    let output = output.expect("make runs");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn native_code_in_a_python_package_is_named() {
    if !has_tools("python") {
        return;
    }
    let said = refused(Language::Python, |folder| {
        append(&folder.join("requirements.txt"), "orjson\n");
        append(&folder.join("plugin.py"), "import orjson\n");
    });
    says(&said, &["orjson has native code for", "pure alternatives: json", "\"plugin.py\", line"]);
    assert!(said.lines().count() < 25, "{said}");
}

#[tokio::test]
async fn a_javascript_plugin_that_is_wrong_is_refused_with_its_line() {
    if !has_tools("javascript") {
        return;
    }
    let wrong = [
        ("const x = (;\n", ["plugin.js:17:11", "Unexpected"]),
        ("import fs from 'node:fs'; fs.read();\n", ["plugin.js:17", "a plugin has no files"]),
        ("undefinedThing();\n", ["plugin.js:17", "undefinedThing is not defined"]),
    ];
    for (line, expected) in wrong {
        let said = refused(Language::JavaScript, |folder| append(&folder.join("plugin.js"), line));
        says(&said.replace("A plugin has", "a plugin has"), &expected);
    }
}

#[tokio::test]
async fn a_javascript_package_that_cannot_be_installed_is_named() {
    if !has_tools("javascript") {
        return;
    }
    let said = refused(Language::JavaScript, |folder| {
        let manifest = folder.join("package.json");
        let text = fs::read_to_string(&manifest).expect("it is there");
        let there_is_none = "\"dependencies\": { \"own\": \"file:./no-such-package.tgz\" },";
        let text = text.replacen('{', &format!("{{\n  {there_is_none}"), 1);
        fs::write(manifest, text).expect("written");
    });
    says(&said, &["npm error", "no-such-package.tgz"]);
}

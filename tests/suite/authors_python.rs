//! What authors meet in Python, where a plugin is started when it is built.

use std::fs;

use mo_router::event::{Datetime, Due, Publication};
use mo_router::scaffold::{self, Language};

use crate::authors::{append, says};
use crate::authors_builds::make;
use crate::authors_mistakes::refused;
use crate::languages::route;
use crate::support::languages::{has_tools, project};

/// Keeps a setting, and asks for time zones when it is called.
const KEEPING: &str = r#"
import logging
from datetime import datetime

import mo_router
from mo_router import Publication
from wit_world.imports import store
from wit_world.imports.store import get_all
from wit_world.imports.types import Datetime, Due_At

logging.warning("this is logged when it is built")


def dateutil(*time):
    from dateutil import tz

    return datetime(*time, tzinfo=tz.gettz("Europe/Copenhagen"))


def pytz(*time):
    import pytz

    return pytz.timezone("Europe/Copenhagen").localize(datetime(*time))


class Filter(mo_router.Filter):
    def __init__(self):
        self.greeting = store.get("greeting")

    def subscriptions(self):
        return ["employee.#"]

    def route(self, event):
        try:
            import orjson
        except ImportError:
            pass
        assert get_all() == [("greeting", self.greeting)]
        zone = dateutil if event.topic.action == "create" else pytz
        mornings = [zone(2024, 3, 31, 8), zone(2024, 10, 27, 8)]
        return [
            Publication(headers=[("set", self.greeting)], due=Due_At(Datetime(int(at.timestamp()), 0)))
            for at in mornings
        ]
"#;

#[tokio::test]
async fn settings_are_read_in_init_and_time_zones_of_other_packages_are_there() {
    if !has_tools("python") {
        return;
    }
    let plugin = project(Language::Python, |folder| {
        fs::write(folder.join("plugin.py"), KEEPING).expect("written");
        let packages = "python-dateutil\npytz\norjson\n";
        fs::write(folder.join("requirements.txt"), packages).expect("written");
    });
    // 08:00 in Copenhagen on the days when daylight saving time begins and ends.
    let morning = |seconds| Publication {
        headers: vec![("set".to_owned(), "hej".into())],
        due: Due::At(Datetime::from_unix(seconds, 0).expect("a time")),
        ..Publication::default()
    };
    for action in ["create", "edit"] {
        let answer = route(&plugin, &[("greeting", "hej")], &format!("employee.it.{action}")).await;
        assert_eq!(answer, Ok([1_711_864_800, 1_730_012_400].map(morning).to_vec()), "{action}");
    }
}

const TOO_EARLY: &str = r#"
import mo_router
from wit_world.imports.store import get

GREETING = get("greeting")


class Filter(mo_router.Filter):
    pass
"#;

const NATIVE: &str = r"
import mo_router


class Filter(mo_router.Filter):
    def route(self, event):
        import orjson

        return orjson.loads(event.body)
";

#[test]
fn what_cannot_work_is_said_when_a_plugin_in_python_is_built() {
    if !has_tools("python") {
        return;
    }
    let written = |plugin: &'static str, packages: &'static str| {
        refused(Language::Python, move |folder| {
            fs::write(folder.join("plugin.py"), plugin).expect("written");
            fs::write(folder.join("requirements.txt"), packages).expect("written");
        })
    };
    let said = written(TOO_EARLY, "");
    let setting = "the setting 'greeting' is not there while the plugin is built";
    says(&said, &["\"plugin.py\", line 5", setting, "read settings in route, or in __init__"]);
    let said = written(NATIVE, "orjson\n");
    let native = "orjson.orjson is native code, which cannot run in WebAssembly";
    says(&said, &["\"plugin.py\", line 7, imports orjson", native, "pure alternatives: json"]);
    assert!(said.lines().count() < 25, "{said}");
}

/// Python keeps what it has compiled of packages that are imported when a plugin is built.
#[test]
fn an_unchanged_plugin_with_packages_stays_the_same_version() {
    if !has_tools("python") {
        return;
    }
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write("own", Language::Python, parent.path()).expect("a new project");
    let read = |path: &str| fs::read(folder.join(path)).expect("it is there");
    fs::write(folder.join("requirements.txt"), "tzdata\n").expect("written");
    append(
        &folder.join("plugin.py"),
        "\nfrom zoneinfo import ZoneInfo\n\nZONE = ZoneInfo(\"UTC\")\n",
    );
    // It is no build that is kept.
    append(&folder.join("plugin.py"), &format!("# {}\n", parent.path().display()));
    make(&folder, &["all"], &[]);
    let (plugin, source) = (read("build/own.wasm"), read("plugin.py"));
    assert!(folder.join("build/packages/tzdata/__pycache__").exists());

    let key = read("build/key");
    append(&folder.join("plugin.py"), "# More.\n");
    make(&folder, &["build/key"], &[]);
    assert_ne!(read("build/key"), key);
    fs::write(folder.join("plugin.py"), source).expect("written");
    let said = make(&folder, &["all"], &[]);
    assert!(!said.contains("building"), "{said}");
    assert!(read("build/own.wasm") == plugin, "another version: {said}");
}

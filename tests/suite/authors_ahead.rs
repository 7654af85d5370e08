//! Builds that begin before there is anything new to build, as `mo-router plugin dev` lets them: what
//! comes out is what a build makes otherwise, and none is left behind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mo_router::scaffold::{self, Language};

use crate::authors::says;
use crate::authors_builds::put;
use crate::languages::route;
use crate::support::block_until;
use crate::support::languages::{has_tools, make};

const AHEAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/ahead.sh");

/// What is built: the text in `source`, as soon as it may be read.
const BUILD: &str =
    "until [ -e next/told/go ]; do sleep 0.02; done; echo seen; cp next/source next/out";

/// A folder in which builds begin.
struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().expect("a temporary folder"));
        put(project.path("key"), "one");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Begins a build by this command of the shell, and waits until it can be taken.
    fn begin(&self, command: &str) -> Begun {
        _ = fs::remove_file(self.path("next/process")); // of the one before
        let begun = self.begin_another(command);
        block_until("a build that has begun", || self.path("next/process").exists());
        begun
    }

    fn begin_another(&self, command: &str) -> Begun {
        let arguments = ["begin", "next", "key", "sh", "-c", command];
        begun(Command::new(AHEAD).args(arguments).current_dir(self.0.path()))
    }

    /// Takes or finishes it; how that ends.
    fn ahead(&self, arguments: &[&str]) -> i32 {
        let status = Command::new(AHEAD).args(arguments).current_dir(self.0.path()).status();
        status.expect("it runs").code().expect("it ends by itself")
    }

    fn is_taken(&self, key: &str) -> bool {
        self.ahead(&["take", "next", key]) == 0
    }

    fn finish(&self) -> i32 {
        self.ahead(&["finish", "next"])
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there")
    }
}

/// What has begun a build. It is ended if a test fails.
struct Begun(Child);

fn begun(command: &mut Command) -> Begun {
    Begun(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts"))
}

impl Begun {
    /// Waits until it has ended, with its standard input still open.
    fn ends(&mut self) {
        block_until("its end", || self.0.try_wait().expect("it can be asked").is_some());
    }

    /// Closes its standard input, as `plugin dev` does by ending.
    fn is_left(&mut self) {
        drop(self.0.stdin.take());
        self.ends();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        _ = self.0.wait();
    }
}

#[test]
fn who_takes_it_finishes_it_and_nobody_else() {
    let project = Project::new();
    let mut begun = project.begin(BUILD);
    // Somebody else works on the same plugin.
    project.begin_another(BUILD).ends();
    put(project.path("same"), "one");
    assert!(project.is_taken("same"));
    assert!(!project.is_taken("same"));
    put(project.path("next/source"), "new");
    assert_eq!(project.finish(), 0);
    begun.ends();
    assert_eq!([project.read("next/out"), project.read("next/log")], ["new", "seen\n"]);
    assert!(!project.is_taken("same"), "it is over");
    // The next one has nothing of it.
    let mut begun = project.begin("exit 3");
    begun.ends();
    assert!(!project.path("next/out").exists() && !project.is_taken("key"));
    assert_eq!(project.finish(), 3);
}

#[test]
fn what_goes_wrong_is_as_in_any_build() {
    let project = Project::new();
    let _begun = project.begin(&format!("{BUILD}; echo wrong >&2; exit 3"));
    assert!(project.is_taken("key"));
    put(project.path("next/source"), "new");
    assert_eq!((project.finish(), project.read("next/log")), (3, "seen\nwrong\n".to_owned()));
}

#[test]
fn none_is_left_behind() {
    let project = Project::new();
    let is_gone = || !project.path("next").exists();
    // Tools or packages are other ones: the build that waits is of no use.
    let mut begun = project.begin(BUILD);
    put(project.path("other"), "two");
    assert!(!project.is_taken("other"));
    begun.ends();
    assert!(is_gone() && !project.is_taken("key"));
    // `plugin dev` ends.
    project.begin(BUILD).is_left();
    assert!(is_gone());
    // `make clean`.
    let mut begun = project.begin(BUILD);
    fs::remove_dir_all(project.path("next")).expect("removed");
    begun.ends();
    assert!(is_gone());
    // It is ended when it has been taken: whoever finishes it builds otherwise.
    let mut begun = project.begin(BUILD);
    assert!(project.is_taken("key"));
    begun.is_left();
    assert_eq!((project.finish(), is_gone()), (75, true));
}

/// The machine was restarted, and something else has the number of the build.
#[test]
fn what_only_has_the_number_of_a_build_is_left_alone() {
    let project = Project::new();
    let mut other = begun(Command::new("cat").process_group(0));
    put(project.path("next/key"), "one");
    put(project.path("next/process"), &format!("{}\n1\n", other.0.id()));
    put(project.path("other"), "two");
    assert!(!project.is_taken("key") && !project.is_taken("other"));
    assert_eq!(project.finish(), 75);
    let _begun = project.begin(BUILD);
    assert!(project.is_taken("key"));
    assert!(other.0.try_wait().expect("it can be asked").is_none());
}

/// Builds a new project after a change, once as always and once by a build that had begun before; what
/// comes out, and what is said of a mistake.
async fn builds_ahead(language: Language, source: &str, [was, mistake]: [&str; 2], said: &[&str]) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let project = scaffold::write("own", language, parent.path()).expect("a new project");
    let plugin = || fs::read(project.join("build/own.wasm")).expect("it is built");
    let text = fs::read_to_string(project.join(source)).expect("it is there");
    let refresh = "employee.it.refresh";
    // What was built is kept for all projects, and those of earlier runs.
    let unique = parent.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let skipping = |what: &str| text.replace("refresh", &format!("{what} {unique}"));
    put(project.join(source), &skipping("edit"));
    make(&project, &["all", "PLUGIN_DEV=1"]);

    let begin = || {
        let begun = begun(Command::new("sh").arg("build/ahead").current_dir(&project));
        block_until("a build that has begun", || project.join("build/next/process").exists());
        begun
    };
    let status = || fs::read_to_string(project.join("build/next/status")).expect("it was taken");

    let mut right = begin();
    put(project.join(source), &skipping("refresh"));
    make(&project, &["all", "PLUGIN_DEV=1"]);
    assert_eq!(route(&plugin(), &[], refresh).await.expect("it answers"), []);
    assert_eq!(status(), "0\n");
    right.ends();
    fs::remove_dir_all(project.join("build/next")).expect("removed");

    let mut wrong = begin();
    put(project.join(source), &text.replacen(was, mistake, 1));
    let ahead = fails(&project);
    says(&ahead, said);
    assert_eq!(status(), "1\n");
    wrong.ends();
    assert_eq!(fails(&project), ahead);
}

/// What make says, which fails.
fn fails(project: &Path) -> String {
    let make = Command::new("make").env_remove("MAKEFLAGS").current_dir(project).output();
    let make = make.expect("make runs");
    assert!(!make.status.success());
    String::from_utf8_lossy(&make.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_python_it_makes_the_same() {
    if has_tools("python") {
        let mistake = ["import", "import no_such_module\nimport"];
        let said = ["No module named 'no_such_module'", "plugin.py\", line"];
        builds_ahead(Language::Python, "plugin.py", mistake, &said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_javascript_it_makes_the_same() {
    if has_tools("javascript") {
        let mistake = ["export ", "noSuchThing();\nexport "];
        let said = ["noSuchThing is not defined", "plugin.js:"];
        builds_ahead(Language::JavaScript, "plugin.js", mistake, &said).await;
    }
}

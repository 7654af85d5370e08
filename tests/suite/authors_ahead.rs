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
const BUILD: &str = "until [ -e $0/told/go ]; do sleep 0.02; done; echo seen; cp $0/source $0/out";

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
        let before = fs::read_link(self.path("next")).ok();
        let arguments = ["begin", "next", "key", "sh", "-c", command];
        let mut begun = begun(Command::new(AHEAD).args(arguments).current_dir(self.0.path()));
        block_until("a build that has begun", || {
            begun.has_ended()
                || fs::read_link(self.path("next")).is_ok_and(|now| Some(now) != before)
        });
        begun
    }

    /// How it ends, and what it prints.
    fn ahead(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(AHEAD).args(arguments).current_dir(self.0.path()).output();
        let output = output.expect("it runs");
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.code().expect("it ends by itself"), said.trim_end().to_owned())
    }

    /// The folder of a build that has begun with what is in this file, and is now one's own.
    fn take(&self, key: &str) -> Option<String> {
        let process = std::process::id().to_string();
        let (status, folder) = self.ahead(&["take", "next", key, &process]);
        (status == 0).then_some(folder)
    }

    fn finish(&self, folder: &str) -> i32 {
        self.ahead(&["finish", folder]).0
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there")
    }

    /// The folders of builds.
    fn folders(&self) -> usize {
        let entries = fs::read_dir(self.0.path()).expect("it is there");
        let is_folder = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_type().expect("it has one").is_dir()
        };
        entries.map(is_folder).filter(|is| *is).count()
    }
}

/// What has begun a build. It is ended if a test fails.
struct Begun(Child);

fn begun(command: &mut Command) -> Begun {
    let command = command.process_group(0);
    Begun(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts"))
}

impl Begun {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_some()
    }

    /// Waits until it has ended, with its standard input still open.
    fn ends(&mut self) {
        block_until("its end", || self.has_ended());
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
    put(project.path("same"), "one");
    let folder = project.take("same").expect("it has begun");
    assert_eq!(project.take("same"), None);
    put(project.path(&folder).join("source"), "new");
    assert_eq!(project.finish(&folder), 0);
    begun.ends();
    let made = ["out", "log"].map(|name| project.read(&format!("{folder}/{name}")));
    assert_eq!(made, ["new", "seen\n"]);
    // What is left by whoever took it and is gone, goes with the next one.
    put(project.path(&folder).join("taker"), "999999999");
    let _begun = project.begin(BUILD);
    assert_eq!(project.folders(), 1);
    assert!(project.take("same").is_some_and(|another| another != folder));
}

/// Somebody else works on the same plugin: each build has a folder of its own.
#[test]
fn the_last_that_has_begun_is_the_next() {
    let project = Project::new();
    let mut first = project.begin(BUILD);
    let mut taken = project.begin(BUILD);
    first.ends();
    let folder = project.take("key").expect("it has begun");
    let mut last = project.begin(BUILD);
    put(project.path(&folder).join("source"), "new");
    assert_eq!(
        (project.finish(&folder), project.read(&format!("{folder}/out"))),
        (0, "new".into())
    );
    taken.ends();
    assert!(!last.has_ended() && project.take("key").is_some());
}

#[test]
fn what_goes_wrong_is_as_in_any_build() {
    let project = Project::new();
    let _begun = project.begin(&format!("{BUILD}; echo wrong >&2; exit 3"));
    let folder = project.take("key").expect("it has begun");
    put(project.path(&folder).join("source"), "new");
    assert_eq!(project.finish(&folder), 3);
    assert_eq!(project.read(&format!("{folder}/log")), "seen\nwrong\n");
    // One that ends before its time has not begun: its tools are gone, perhaps.
    project.begin("exit 127").ends();
    assert_eq!(project.take("key"), None);
    // The kernel ends what takes too much memory.
    let _begun = project.begin("until [ -e $0/told/go ]; do sleep 0.02; done; exit 137");
    let folder = project.take("key").expect("it has begun");
    assert_eq!(project.finish(&folder), 75);
}

#[test]
fn none_is_left_behind() {
    let project = Project::new();
    let are_gone = || block_until("the end of its folder", || project.folders() == 0);
    // Tools or packages are other ones: the build that waits is of no use.
    let mut begun = project.begin(BUILD);
    put(project.path("other"), "two");
    assert_eq!(project.take("other"), None);
    begun.ends();
    are_gone();
    assert_eq!(project.take("key"), None);
    // `plugin dev` ends.
    project.begin(BUILD).is_left();
    are_gone();
    // `make clean`.
    let mut begun = project.begin(BUILD);
    let folder = fs::read_link(project.path("next")).expect("a link");
    fs::remove_dir_all(project.path(folder.to_str().expect("text"))).expect("removed");
    begun.ends();
    // An interrupt from the terminal goes to the whole group, and ends `plugin dev`.
    let mut begun = project.begin(BUILD);
    let group = format!("-{}", begun.0.id());
    drop(begun.0.stdin.take());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().expect("it runs").success());
    begun.ends();
    are_gone();
    // It is ended when it has been taken: whoever finishes it builds otherwise.
    let mut begun = project.begin(BUILD);
    let folder = project.take("key").expect("it has begun");
    begun.is_left();
    assert_eq!(project.finish(&folder), 75);
    // Whoever took it is gone.
    let mut begun = project.begin(BUILD);
    assert_eq!(project.ahead(&["take", "next", "key", "999999999"]).0, 0);
    begun.ends();
    are_gone();
}

/// The machine was restarted, and something else has the number of the build.
#[test]
fn what_only_has_the_number_of_a_build_is_left_alone() {
    let project = Project::new();
    let mut other = begun(&mut Command::new("cat"));
    put(project.path("next.old/key"), "one");
    put(project.path("next.old/process"), &format!("{}\n1\n", other.0.id()));
    std::os::unix::fs::symlink("next.old", project.path("next")).expect("a link");
    put(project.path("other"), "two");
    assert_eq!([project.take("key"), project.take("other")], [None, None]);
    assert_eq!(project.finish("next.old"), 75);
    let _begun = project.begin(BUILD);
    assert!(project.take("key").is_some() && !other.has_ended() && project.folders() == 1);
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

    // Another interface or other tools make another build of it, other sources do not.
    let key = fs::read_to_string(project.join("build/next.key")).expect("it is there");
    says(&key, &["package os2mo:router@1.1.0"]);
    assert!(!key.contains(unique) && !key.contains(&format!("  ./{source}")), "{key}");

    let begin = || {
        let begun = begun(Command::new("sh").arg("build/ahead").current_dir(&project));
        block_until("a build that has begun", || project.join("build/next/key").exists());
        begun
    };
    let was_taken = || !project.join("build/next/key").exists();

    let mut right = begin();
    put(project.join(source), &skipping("refresh"));
    make(&project, &["all", "PLUGIN_DEV=1"]);
    assert_eq!(route(&plugin(), &[], refresh).await.expect("it answers"), []);
    assert!(was_taken());
    right.ends();

    let mut wrong = begin();
    put(project.join(source), &text.replacen(was, mistake, 1));
    let ahead = fails(&project);
    says(&ahead, said);
    assert!(was_taken());
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

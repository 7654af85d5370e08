//! What builds keep in `~/.cache/mo-router`: bounded, and whole or made again; and what they install.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::authors::says;
use crate::authors_builds::put;
use crate::support::block_until;

const DEV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev");

/// Runs a script, which has this cache; whether it succeeds, and what it says.
fn run(script: &str, arguments: &[&str], cache: &Path, path: Option<&Path>) -> (bool, String) {
    let mut command = Command::new(script);
    command.args(arguments).env("XDG_CACHE_HOME", cache);
    if let Some(path) = path {
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", path.display()));
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

/// Builds that take no time.
struct Builds {
    parent: tempfile::TempDir,
}

impl Builds {
    fn new() -> Self {
        Self { parent: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    /// Builds, of this key, by a command of the shell that writes `$1`; whether it succeeds, and what
    /// it says. Programs in `bin` come first.
    fn once(&self, key: &str, command: &str) -> (bool, String) {
        put(self.path("key"), key);
        let [key, out, new] =
            ["key", "out.wasm", "out.wasm.new"].map(|name| self.path(name).display().to_string());
        let arguments = [&key, &out, "building", "sh", "-c", command, "sh", &new];
        run(&format!("{DEV}/once.sh"), &arguments, &self.path("cache"), Some(&self.path("bin")))
    }

    fn built(&self) -> Option<String> {
        assert!(!self.path("out.wasm.new").exists());
        fs::read_to_string(self.path("out.wasm")).ok()
    }

    /// What is kept.
    fn kept(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.path("cache/mo-router/builds")).expect("a folder");
        folder.map(|entry| entry.expect("an entry").path()).collect()
    }
}

#[test]
fn what_was_built_is_kept_whole_or_built_again() {
    let builds = Builds::new();
    let (built, said) = builds.once("a", "echo first >$1");
    assert!(built && said == "building\n", "{said}");
    assert_eq!(builds.once("a", "echo second >$1"), (true, String::new()));
    assert_eq!(builds.built().as_deref(), Some("first\n"));
    // As after a full disk, or a machine that lost its power.
    let [kept] = &builds.kept()[..] else { panic!("{:?}", builds.kept()) };
    for broken in ["", "fir"] {
        fs::write(kept, broken).expect("written");
        assert_eq!(builds.once("a", "echo first >$1"), (true, "building\n".to_owned()));
        assert_eq!(builds.built().as_deref(), Some("first\n"));
        assert_eq!(builds.once("a", "false"), (true, String::new()));
        assert_eq!(builds.kept(), std::slice::from_ref(kept));
    }
    // A build that fails half-way leaves nothing that make would take for a plugin.
    fs::remove_file(builds.path("out.wasm")).expect("removed");
    let (built, _) = builds.once("b", "echo half >$1; exit 1");
    assert!(!built);
    assert_eq!((builds.built(), builds.kept().len()), (None, 1));
}

#[test]
fn as_many_builds_are_kept_as_it_says() {
    let builds = Builds::new();
    for key in 0..33 {
        assert!(builds.once(&key.to_string(), "echo $0 >$1").0);
    }
    assert_eq!(builds.kept().len(), 30);
    assert_eq!(builds.once("32", "false"), (true, String::new()));
}

#[test]
fn a_build_that_cannot_be_kept_is_built_all_the_same() {
    let builds = Builds::new();
    put(builds.path("cache"), "no folder");
    let (built, said) = builds.once("a", "echo first >$1");
    assert!(built, "{said}");
    says(&said, &["cannot be kept in", "cache/mo-router/builds", "another version of the plugin"]);
    assert_eq!(builds.built().as_deref(), Some("first\n"));
}

/// As where two builds clean up at once, or the folder is another user's.
#[test]
fn a_build_does_not_fail_because_the_kept_ones_cannot_be_tidied() {
    let builds = Builds::new();
    for name in ["find", "touch", "rm"] {
        program(builds.path("bin").join(name), "#!/bin/sh\necho refused >&2\nexit 1\n");
    }
    assert_eq!(builds.once("a", "echo first >$1"), (true, "building\n".to_owned()));
    assert_eq!(builds.built().as_deref(), Some("first\n"));
    fs::remove_file(builds.path("out.wasm")).expect("removed");
    assert_eq!(builds.once("a", "false"), (true, String::new()));
    assert_eq!(builds.built().as_deref(), Some("first\n"));
    fs::write(&builds.kept()[0], "broken").expect("written");
    assert!(builds.once("a", "echo second >$1").0);
    assert_eq!(builds.built().as_deref(), Some("second\n"));
}

/// A Python that makes environments at once, and a pip that installs nothing in them.
const PYTHON: &str = r#"#!/bin/bash
[ "$1 $2 $3" = "-m venv --clear" ] || exit 0
rm -rf "$4" && mkdir -p "$4/bin"
ln -s "$(dirname "$0")/base" "$4/bin/python3"
printf '#!/bin/sh\n[ ! -e "%s/no-network" ]\n' "$(dirname "$0")" >"$4/bin/pip"
chmod +x "$4/bin/pip"
"#;

fn program(path: PathBuf, content: &str) {
    put(path.clone(), content);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
}

#[test]
fn tools_that_are_not_there_whole_are_installed_again() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| parent.path().join(name);
    program(path("bin/python3"), PYTHON);
    for version in ["3.13", "3.14"] {
        program(path("bin").join(version), "#!/bin/sh\n");
    }
    symlink("3.13", path("bin/base")).expect("a link");
    let script = format!("#!/bin/bash\nsource {DEV}/tools.sh\nfrom_pypi thing \"$1\"\n");
    program(path("tools-thing.sh"), &script);
    let install = |version: &str| {
        let script = path("tools-thing.sh").display().to_string();
        run(&script, &[version], &path("cache"), Some(&path("bin")))
    };
    let folder = path("cache/mo-router/tools/thing-1");
    let there = format!("{}/bin\n", folder.display());
    let installed = (true, format!("{there}installing thing 1\n"));
    assert_eq!(install("1"), installed);
    assert_eq!(install("1"), (true, there.clone()));
    // What an earlier version of these scripts has installed.
    fs::write(folder.join("complete"), "").expect("written");
    assert_eq!(install("1"), (true, there.clone()));

    fs::remove_file(folder.join("complete")).expect("removed");
    put(path("bin/no-network"), "");
    assert!(!install("1").0);
    assert!(!install("1").0, "a half is no whole");
    fs::remove_file(path("bin/no-network")).expect("removed");
    assert_eq!(install("1"), installed);
    fs::remove_file(folder.join("bin/python3")).expect("removed");
    assert_eq!(install("1"), installed);
    // The machine has a new Python, in which nothing is installed.
    fs::remove_file(path("bin/base")).expect("removed");
    symlink("3.14", path("bin/base")).expect("a link");
    assert_eq!(install("1"), installed);
    assert_eq!(install("1"), (true, there));

    // Of other versions, those stay that somebody has used of late.
    install("2");
    let age =
        Command::new("touch").args(["-d", "100 days ago"]).arg(folder.join("complete")).status();
    assert!(age.expect("touch runs").success());
    install("3");
    let mut kept: Vec<_> = fs::read_dir(path("cache/mo-router/tools"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    kept.sort();
    assert_eq!(kept, ["thing-2", "thing-3"]);
}

/// A rustup that adds a target file by file, and only for one at a time, as the real one.
const RUSTUP: &str = r#"#!/bin/bash
mkdir "$RUSTUP_HOME/lib" || exit 1
sleep 2
touch "$RUSTUP_HOME/lib/whole"
"#;
const RUSTC: &str = r#"#!/bin/bash
[ "$1" = --version ] && echo 'rustc 1.0.0' || printf '%s\n' "$RUSTUP_HOME/lib" "$RUSTUP_HOME"
"#;
const CARGO: &str = r#"#!/bin/bash
mkdir -p "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release"
cp "$RUSTUP_HOME/lib/whole" "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/own.wasm"
"#;

/// Otherwise those that come too early are built by another compiler, or not at all.
#[test]
fn builds_in_rust_that_are_the_first_at_once_wait_for_the_one_that_adds_the_target() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| parent.path().join(name);
    for (name, content) in [("rustup", RUSTUP), ("rustc", RUSTC), ("cargo", CARGO)] {
        program(path("bin").join(name), content);
    }
    program(path("packages.sh"), "#!/bin/sh\necho another compiler is installed >&2\nexit 1\n");
    fs::copy(format!("{DEV}/rust-plugin.sh"), path("rust-plugin.sh")).expect("copied");
    fs::create_dir(path("rustup")).expect("a folder");
    let build = |name: &str| {
        let mut command = Command::new(path("rust-plugin.sh"));
        command
            .args(["own", &format!("{name}.wasm")])
            .current_dir(parent.path())
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", path("bin").display()))
            .env("RUSTUP_HOME", path("rustup"))
            .env("CARGO_TARGET_DIR", path(name))
            .env_remove("RUSTC")
            .env_remove("RUSTFLAGS");
        command.spawn().expect("it runs")
    };
    let first = build("first");
    block_until("rustup to add the target", || path("rustup/lib").exists());
    for mut build in [build("second"), build("third"), first] {
        assert!(build.wait().expect("it ends").success());
    }
    // It may be another user's, or one for many.
    let there = fs::read_dir(path("rustup")).expect("a folder");
    let there: Vec<_> = there.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(there, ["lib"], "nothing of ours is left in rustup's folder");
}

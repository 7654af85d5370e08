//! Which commit a plugin's file says that it is of.

use std::path::Path;
use std::process::Command;

use crate::authors::says;
use crate::authors_builds::put;

/// What `origin.sh` says of a folder: for the plugin's file, and to its author.
fn origin(folder: &Path, environment: &[(&str, &str)]) -> (String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/dev/origin.sh");
    let output = Command::new(script)
        .args(["0.1.0", "C"])
        .current_dir(folder)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs(environment.iter().copied())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text")).into()
}

pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// As in CI, where each commit would be another version of a plugin that it leaves as it is.
#[test]
fn a_shallow_clone_does_not_say_which_commit_a_plugin_is_of() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let repository = parent.path().join("repository");
    put(repository.join("own/plugin.c"), "");
    git(&repository, &["init", "-q"]);
    for path in ["own/plugin.c", "README.md", "other"] {
        put(repository.join(path), "");
        git(&repository, &["add", "-A"]);
        git(&repository, &["commit", "-qm", path]);
    }
    let commit = git(&repository, &["log", "-1", "--format=%H", "--", "own"]);
    let url = format!("file://{}", repository.display());
    let clone = |depth: &str| {
        git(parent.path(), &["clone", "-q", "--depth", depth, &url, depth]);
        parent.path().join(depth)
    };
    for depth in ["1", "2"] {
        let (said, told) = origin(&clone(depth).join("own"), &[]);
        assert!(!said.contains("revision"), "{said}");
        says(&told, &["this clone is shallow", "git fetch --unshallow", "fetch-depth: 0"]);
    }
    let whole = parent.path().join("1");
    git(&whole, &["fetch", "-q", "--unshallow"]);
    let (said, told) = origin(&whole.join("own"), &[]);
    says(&said, &[&format!("revision {commit}\n")]);
    assert_eq!(told, "");
    // What changed within its depth, a shallow clone knows.
    put(repository.join("own/plugin.c"), "// More.");
    git(&repository, &["commit", "-qam", "more"]);
    let commit = git(&repository, &["rev-parse", "HEAD"]);
    let (said, told) = origin(&clone("3").join("own"), &[]);
    says(&said, &[&format!("revision {commit}\n")]);
    assert_eq!(told, "");
}

#[test]
fn a_git_that_refuses_is_told_of_and_none_is_not() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(origin(parent.path(), &[]), ("version 0.1.0\nlanguage C\n".into(), String::new()));
    git(parent.path(), &["init", "-q"]);
    assert_eq!(origin(parent.path(), &[]).1, "");
    let (said, told) = origin(parent.path(), &[("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")]);
    assert!(!said.contains("revision"), "{said}");
    says(&told, &["git refuses", "dubious ownership", "safe.directory"]);
}

#[test]
fn the_names_of_folders_are_no_patterns() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let root = parent.path().canonicalize().expect("it is there").join("we[ird]*");
    let [own, shared] = ["own[1]", "shared[b]*\\x"].map(|name| root.join(name));
    put(own.join("plugin.c"), "");
    put(shared.join("words.txt"), "");
    put(root.join(".gitignore"), "build/\n");
    git(&root, &["init", "-q"]);
    let revision = || {
        let said = origin(&own, &[]).0;
        let revision = said.lines().find_map(|line| line.strip_prefix("revision "));
        revision.expect(&said).to_owned()
    };
    let commit = || {
        git(&root, &["add", "-A"]);
        git(&root, &["commit", "-qm", "more"]);
        git(&root, &["rev-parse", "HEAD"])
    };
    let beside = own.join("build/beside");
    put(beside.clone(), &format!("{}\n", shared.display()));
    let first = commit();
    assert_eq!(revision(), first);
    // What these names match as patterns, and what no plugin is built from.
    for other in ["own1/plugin.c", "sharedb-x/words.txt"] {
        put(root.join(other), "");
    }
    for left_out in [own.join("README.md"), shared.join("README.md"), shared.join("in/.hidden")] {
        put(left_out, "");
    }
    assert_eq!(revision(), first);
    commit();
    assert_eq!(revision(), first);
    put(shared.join("words.txt"), "other");
    assert_eq!(revision(), format!("{first}-dirty"));
    let second = commit();
    assert_eq!(revision(), second);

    // All of the repository lies beside.
    put(beside, &format!("{}\n", root.display()));
    put(root.join("own1/plugin.c"), "other");
    let third = commit();
    assert_eq!(revision(), third);
    put(root.join("own1/README.md"), "");
    commit();
    assert_eq!(revision(), third);
}

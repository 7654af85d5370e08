//! The ways in which people deploy a plugin, many times each while events pass: none is lost,
//! and each is routed by a version that was there.
//!
//! ```text
//! make deployments        # 200 deployments of each way, as a table
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::plugins::stamped;
use crate::support::router::Router;
use crate::support::scene::{DEAD, Scene};
use crate::support::steady::Steady;
use crate::support::traffic::{Received, numbers};

/// The plugin's name.
const NAME: &str = "deployed";

/// Deployments of each way, unless `DEPLOYMENTS` says how many.
const DEPLOYMENTS: usize = 4;

/// Events a second, and how many of them each version routes at least.
const RATE: u64 = 1000;
const EACH: usize = 50;

/// How long a file is away, in turns.
const PAUSES: [u64; 4] = [0, 50, 500, 3000];

/// A way to put a new version in place.
#[derive(Clone, Copy, Debug)]
enum Way {
    CopyOver,
    RemoveAndCopy,
    Move,
    Rsync,
    CopySlowly,
    Editor,
    ConfigMap,
    FolderAway,
    FolderEmpty,
}

const WAYS: [(Way, &str); 9] = [
    (Way::CopyOver, "cp over it"),
    (Way::RemoveAndCopy, "rm, then cp"),
    (Way::Move, "mv from beside it"),
    (Way::Rsync, "rsync: hidden file, then rename"),
    (Way::CopySlowly, "scp: written piece by piece"),
    (Way::Editor, "editor: renamed away, written anew"),
    (Way::ConfigMap, "ConfigMap: ..data is swapped"),
    (Way::FolderAway, "folder away and back"),
    (Way::FolderEmpty, "folder empty and back (mount gone)"),
];

impl Way {
    /// The folder before the router starts.
    fn arrange(self, plugins: &Path, content: &[u8]) {
        let file = plugins.join(NAME).with_extension("wasm");
        match self {
            Self::ConfigMap => {
                fs::create_dir(plugins.join("..0")).unwrap();
                fs::write(plugins.join("..0").join(file_name(&file)), content).unwrap();
                symlink("..0", plugins.join("..data")).unwrap();
                symlink(Path::new("..data").join(file_name(&file)), file).unwrap();
            }
            _ => fs::write(file, content).unwrap(),
        }
    }

    /// Puts the version with this number in place.
    async fn deploy(self, plugins: &Path, number: usize, content: &[u8]) {
        let file = plugins.join(NAME).with_extension("wasm");
        let beside = plugins.with_file_name("beside.wasm");
        let pause = Duration::from_millis(PAUSES[number % PAUSES.len()]);
        fs::write(&beside, content).unwrap();
        match self {
            Self::CopyOver => copy(&beside, &file),
            Self::RemoveAndCopy => {
                fs::remove_file(&file).unwrap();
                tokio::time::sleep(pause).await;
                copy(&beside, &file);
            }
            Self::Move => fs::rename(&beside, &file).unwrap(),
            Self::Rsync => {
                let hidden = plugins.join(format!(".{NAME}.wasm.Xq3f9a"));
                copy(&beside, &hidden);
                fs::rename(&hidden, &file).unwrap();
            }
            Self::CopySlowly => {
                let mut out = fs::File::create(&file).unwrap();
                for piece in content.chunks(content.len() / 5 + 1) {
                    out.write_all(piece).unwrap();
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
            Self::Editor => {
                let backup = plugins.join(format!("{NAME}.wasm~"));
                fs::rename(&file, &backup).unwrap();
                copy(&beside, &file);
                fs::remove_file(backup).unwrap();
            }
            Self::ConfigMap => {
                let (old, new) = (format!("..{}", number - 1), format!("..{number}"));
                fs::create_dir(plugins.join(&new)).unwrap();
                copy(&beside, &plugins.join(&new).join(file_name(&file)));
                symlink(&new, plugins.join("..data_tmp")).unwrap();
                fs::rename(plugins.join("..data_tmp"), plugins.join("..data")).unwrap();
                fs::remove_dir_all(plugins.join(old)).unwrap();
            }
            Self::FolderAway | Self::FolderEmpty => {
                let away = plugins.with_file_name("away");
                fs::rename(plugins, &away).unwrap();
                if matches!(self, Self::FolderEmpty) {
                    fs::create_dir(plugins).unwrap();
                }
                tokio::time::sleep(pause).await;
                copy(&beside, &away.join(file_name(&file)));
                if matches!(self, Self::FolderEmpty) {
                    fs::remove_dir(plugins).unwrap();
                }
                fs::rename(&away, plugins).unwrap();
            }
        }
    }
}

fn file_name(file: &Path) -> PathBuf {
    file.file_name().unwrap().into()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// The version that the router gives a file.
fn version(content: &[u8]) -> String {
    blake3::hash(content).to_hex()[..12].to_owned()
}

#[expect(clippy::disallowed_methods, reason = "how many to make")]
fn deployments() -> usize {
    let asked = std::env::var("DEPLOYMENTS").ok();
    asked.map_or(DEPLOYMENTS, |number| number.parse().expect("DEPLOYMENTS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_of_every_way_lose_nothing() {
    println!(
        "{:36} {:>6} {:>8} {:>5} {:>6} {:>7} {:>7}",
        "way", "times", "events", "lost", "twice", "by A", "by B"
    );
    for (way, words) in WAYS {
        let scene = Scene::shared().await;
        let mut router = keeping_bindings(&scene);
        let files = [stamped("A"), stamped("B")];
        way.arrange(&router.path("plugins"), &files[0]);
        router.start_ready().await;
        let steady = Steady::start_within(&scene, RATE, 20 * EACH).await;
        for number in 1..=deployments() {
            let (plugins, content) = (router.path("plugins"), &files[number % 2]);
            steady
                .replace(async {
                    way.deploy(&plugins, number, content).await;
                    let is_current = |status: &serde_json::Value| {
                        status["version"] == version(content) && status["state"] == "running"
                    };
                    router.status_until(NAME, is_current).await;
                })
                .await;
            steady.pass(EACH).await;
        }
        // It waits until every event has been routed: what is lost would be waited for.
        let passages = steady.stop(&scene).await;
        let received: Vec<Received> =
            passages.into_iter().map(|passage| passage.received).collect();
        let mut by = BTreeMap::<_, usize>::new();
        for message in &received {
            *by.entry(message.headers["stamp"].as_str()).or_default() += 1;
        }
        let numbers = numbers(&received);
        // They are numbered without gaps.
        let sent = numbers.last().map_or(0, |last| *last as usize + 1);
        let (events, times) = (numbers.len(), deployments());
        let (lost, twice) = (sent - events, received.len() - events);
        println!(
            "{words:36} {times:>6} {events:>8} {lost:>5} {twice:>6} {:>7} {:>7}",
            by["A"], by["B"]
        );
        assert_eq!(lost, 0, "{way:?}");
        assert!(router.stop().await.success());
        assert_eq!(scene.client.depth(DEAD).await, 0, "{way:?}");
    }
}

/// A router that keeps the bindings of removed plugins for as long as it does by default.
fn keeping_bindings(scene: &Scene) -> Router {
    let router = scene.router("", &[]);
    let file = router.path("mo-router.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let settings = settings.replace("keep_bindings = '1s'", "keep_bindings = '10min'");
    router.put_file("mo-router.toml", settings.as_bytes());
    router
}

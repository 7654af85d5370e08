//! Events through a plugin with a virtual clock, to see what would be published. Nothing is: it
//! is a replay, on a thread of its own, of an instance that nobody else uses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tracing::subscriber::{NoSubscriber, with_default};

use super::fleet;
use crate::daemon::http::failure::Failure;
use crate::daemon::http::guard::Changer;
use crate::daemon::http::{Shared, json as as_json};
use crate::event::Datetime;
use crate::plugins::{Codegen, PluginFile, check_name};
use crate::replay::{NotSubscribed, Output, Script, Stage};
use crate::settings::Settings;
use crate::unhung::{PATIENCE, answer_in_turn};

/// How large a plugin's file may be that is tried, and a request with one: there are events before it.
const LARGEST_FILE: usize = 64 << 20;
pub const LARGEST_WITH_FILE: usize = LARGEST_FILE + (4 << 20);
/// How many bytes of events are taken, and how many lines and bytes come out.
const EVENTS: usize = 1 << 20;
const LINES: usize = 500;
const BYTES: usize = 4 << 20;
/// How long it may take, compiling included.
const TIMEOUT: Duration = Duration::from_secs(150);
/// How long to wait for others who try something.
const WAIT: Duration = Duration::from_secs(10);
/// Why nothing can be tried meanwhile.
const TAKEN: &str = "others try events, or a trial waits for a file system that does not answer (that of \
                     the plugins' folder, or of [plugins] cache_dir): try again later";

/// Which events, and through what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    plugin: String,
    /// JSON Lines, as `mo-router replay` reads them.
    events: String,
    /// What time it is at the start, where the events do not say.
    at: Option<Datetime>,
}

/// The same, before a plugin's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedOfFile {
    name: String,
    events: String,
    at: Option<Datetime>,
}

/// Events through a plugin that is loaded.
pub async fn events(
    State(shared): State<Shared>,
    Json(Asked { plugin, events, at }): Json<Asked>,
) -> Result<Response, Failure> {
    with_plugin(&shared, &plugin, events, at).await
}

/// Events through a file that is not in the folder. It takes the token: the file runs with the
/// settings of the plugin of its name. What is asked is the first line of the body; the file is the
/// rest.
pub async fn file(
    changer: Changer,
    State(shared): State<Shared>,
    body: Bytes,
) -> Result<Response, Failure> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::wrong(format!(
            "the first line of the body is JSON with the name and events, the file is the rest: {why}"
        ))
    };
    let end = body.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| wrong(&"there is one line only"))?;
    let asked = serde_json::from_slice(&body[..end]).map_err(|error| wrong(&error));
    let AskedOfFile { name, events, at } = asked?;
    let bytes = body.slice(end + 1..);
    check_name(&name).map_err(|wrong| Failure::wrong(wrong.to_string()))?;
    if bytes.len() > LARGEST_FILE {
        return Err(Failure::wrong(format!("the file has more than {LARGEST_FILE} bytes")));
    }
    changer.log(&format!("a file of {} bytes tried as plugin {name}", bytes.len()));
    let path = format!("{name}.wasm").into();
    let turn = turn(&shared.trying).await?;
    run(&shared, turn, || PluginFile::new(name, path, bytes), events, at).await
}

/// Events through a plugin that is loaded.
pub async fn with_plugin(
    shared: &Shared,
    plugin: &str,
    events: String,
    at: Option<Datetime>,
) -> Result<Response, Failure> {
    let path = fleet(shared)?.path_of(plugin);
    let path = path.ok_or_else(|| {
        Failure::not_found(format!("plugin {plugin:?} has no file that can be tried"))
    })?;
    let turn = turn(&shared.trying).await?;
    let (source, turn) = read(turn, move || PluginFile::read_of_folder(&path)).await?;
    run(shared, turn, || source, events, at).await
}

/// Reads a file of the plugins' folder, which may hang: nobody else tries something then.
async fn read(
    turn: OwnedMutexGuard<()>,
    read: impl FnOnce() -> anyhow::Result<PluginFile> + Send + 'static,
) -> Result<(PluginFile, OwnedMutexGuard<()>), Failure> {
    let read = answer_in_turn(PATIENCE, turn, read).await;
    let (source, turn) =
        read.ok_or_else(|| Failure::unavailable("the plugins' folder does not answer"))?;
    Ok((source.map_err(|error| Failure::wrong(format!("{error:#}")))?, turn))
}

/// One trial at a time: what it takes of the machine is not the plugins'.
async fn turn(trying: &Arc<Mutex<()>>) -> Result<OwnedMutexGuard<()>, Failure> {
    let turn = tokio::time::timeout(WAIT, Arc::clone(trying).lock_owned()).await;
    turn.map_err(|_| Failure::unavailable(TAKEN))
}

/// Plays on a thread and a runtime of its own, which keep the turn for as long as anything goes on there:
/// a file system that hangs, such as that of the code cache, has the threads of one trial. Whoever asked
/// does not wait for that.
fn in_turn<T: Send + 'static>(
    turn: OwnedMutexGuard<()>,
    play: impl FnOnce(&Runtime) -> anyhow::Result<T> + Send + 'static,
) -> oneshot::Receiver<anyhow::Result<T>> {
    let (tell, told) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        // Whoever asked may be gone.
        let _ = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let told = tell.send(play(&runtime));
                // Here it waits for its threads.
                drop(runtime);
                told
            }
            Err(error) => tell.send(Err(error.into())),
        };
    });
    told
}

async fn run(
    shared: &Shared,
    turn: OwnedMutexGuard<()>,
    source: impl FnOnce() -> PluginFile + Send + 'static,
    events: String,
    at: Option<Datetime>,
) -> Result<Response, Failure> {
    if events.len() > EVENTS {
        return Err(Failure::wrong(format!("that is more than {EVENTS} bytes of events")));
    }
    let settings = Settings::clone(&*fleet(shared)?.settings());
    let played = in_turn(turn, move |runtime| {
        let at = at.or_else(|| Some(Datetime::now()));
        with_default(NoSubscriber::new(), || play(runtime, settings, source(), &events, at))
    });
    let played = played.await.context("the trial has stopped").map_err(Failure::from)?;
    played.map(|result| as_json(&result)).map_err(|error| Failure::wrong(format!("{error:#}")))
}

/// What would be published, what cannot be read, and what the plugin logs.
fn play(
    runtime: &Runtime,
    settings: Settings,
    source: PluginFile,
    events: &str,
    at: Option<Datetime>,
) -> anyhow::Result<Value> {
    let name = source.name.clone();
    let (mut lines, mut bytes, mut left_out, mut problems) = (Vec::new(), 0, 0_u64, Vec::new());
    let mut take = |output| match output {
        Output::Problem(_) | Output::NotSubscribed(_) if problems.len() >= LINES => {}
        Output::Line(line) => {
            let line = line.to_json();
            bytes += line.to_string().len();
            match lines.len() < LINES && bytes <= BYTES {
                true => lines.push(line),
                false => left_out += 1,
            }
        }
        Output::Problem(problem) => problems.push(problem),
        Output::NotSubscribed(NotSubscribed { number, routing_key }) => problems.push(format!(
            "event {number} is not for this plugin, which does not subscribe to {routing_key:?}"
        )),
    };
    let played = async {
        let stage = Stage::of(settings, source, Codegen::Optimised).await?;
        let host = stage.host();
        let version = stage.versions().first().cloned();
        let script = Script { lines: events, at, ..Script::default() };
        stage.play(script, &mut take).await;
        let log = host.recent_lines(&name, 0, Duration::ZERO).await.unwrap_or_default();
        anyhow::Ok((log.lines, version))
    };
    let played = runtime.block_on(async { tokio::time::timeout(TIMEOUT, played).await });
    let (log, version) = played.with_context(|| format!("it takes longer than {TIMEOUT:?}"))??;
    Ok(json!({
        "plugin": name,
        "version": version,
        "lines": lines,
        "left_out": left_out,
        "problems": problems,
        "log": log,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_hangs_is_read_by_one_thread() {
        let trying = Arc::default();
        let (answers, hung) = sync_channel::<()>(0);
        let hangs = move || {
            let _ = hung.recv();
            anyhow::bail!("it is gone")
        };
        let first = async { read(turn(&trying).await?, hangs).await.map(drop) };
        // A thread that waits keeps the clock from going on by itself.
        let (first, ()) = tokio::join!(first, advance(PATIENCE));
        assert_eq!(first.unwrap_err().to_string(), "the plugins' folder does not answer");
        let (second, ()) = tokio::join!(turn(&trying), advance(WAIT));
        assert_eq!(second.unwrap_err().to_string(), TAKEN);
        drop(answers);
        assert!(turn(&trying).await.is_ok());
    }

    #[tokio::test]
    async fn a_cache_that_hangs_has_the_threads_of_one_trial() {
        let trying = Arc::default();
        let (answers, hung) = sync_channel::<()>(0);
        let first = in_turn(turn(&trying).await.unwrap(), |runtime| {
            drop(runtime.spawn_blocking(move || hung.recv()));
            Ok(7)
        });
        assert_eq!(first.await.unwrap().unwrap(), 7, "it does not wait for the cache");
        let second = tokio::time::timeout(Duration::from_millis(200), turn(&trying));
        assert!(second.await.is_err(), "another one may try");
        drop(answers);
        assert!(turn(&trying).await.is_ok());
    }
}

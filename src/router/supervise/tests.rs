//! What a session begins with, whatever happened before it was open.

use std::sync::{Arc, Mutex};

use anyhow::bail;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::event::{Datetime, Event, Outgoing};
use crate::router::core::{Answer, Intake, Record};
use crate::router::stats::Stats;
use crate::router::version::Worker;
use crate::settings::Settings;
use crate::transport::{Completed, Received};

struct Fake(&'static str);

impl Program for Fake {
    type Worker = Fake;

    fn name(&self) -> &str {
        "fake"
    }

    fn label(&self) -> &str {
        self.0
    }

    fn subscriptions(&self) -> &[String] {
        &[]
    }

    fn worker(self: &Arc<Self>) -> Fake {
        Fake(self.0)
    }
}

impl Worker for Fake {
    async fn route(&mut self, _: &Event, _: u32) -> Answer {
        Ok(Vec::new())
    }
}

/// Gives nothing, and takes nothing.
struct Silent;

impl Inbox for Silent {
    type Receipt = ();

    async fn next(&mut self) -> Result<Received<()>> {
        std::future::pending().await
    }

    async fn filled(&mut self) -> Result<()> {
        std::future::pending().await
    }

    fn widen(&mut self) {}

    fn settle(&mut self, (): ()) {}

    fn unsent(&self) -> usize {
        0
    }

    fn flush(&mut self) {}

    async fn close(self) {}
}

impl Outbox for Silent {
    fn send(&mut self, _: u64, _: Outgoing) {}

    fn copy(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    fn abandon(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    async fn completed(&mut self) -> Result<Completed> {
        std::future::pending().await
    }
}

/// What happens while a session is opened.
type Opening = Box<dyn FnOnce() -> Result<()> + Send>;

/// Opens a session after another, each with what is said.
struct Scripted(Mutex<Vec<Opening>>);

impl Connector<Fake> for Scripted {
    type Inbox = Silent;
    type Outbox = Silent;

    async fn reachable(&self) {}

    async fn open(&self, _: &Version<Fake>, _: Limit, _: usize) -> Result<(Silent, Silent)> {
        let next = self.0.lock().unwrap().remove(0);
        next().map(|()| (Silent, Silent))
    }
}

fn version(label: &'static str) -> Version<Fake> {
    let settings = Arc::new(Settings::default().of_plugin("fake"));
    Version { plugin: Arc::new(Fake(label)), settings }
}

/// What a plugin is said to do that was on trial, for a reason of `trap`, when all that was to be
/// opened has been.
async fn after(
    script: impl FnOnce(watch::Sender<Version<Fake>>) -> Vec<Box<dyn FnOnce() -> Result<()> + Send>>,
) -> (State, Option<String>) {
    let (versions, current) = watch::channel(version("v1"));
    let mut record = Record::default();
    record.breaker.on_failure(Uuid::nil(), 1, "trap");
    record.breaker.half_open();
    let (settings, stats) = (Settings::default(), Arc::new(Stats::default()));
    let stop = CancellationToken::new();
    let context = Context {
        current,
        delays: crate::delay::handle(1).0,
        clock: Clock::with_timers_from(Datetime::from_unix_micros(1_700_000_000_000_000)),
        intake: Intake::of(&settings),
        queue: None,
        output_exchange: String::new(),
        limit: Limit {
            deliveries: 10,
            bytes: usize::MAX,
            hold: Limit::HOLD,
            finish: Limit::FINISH,
        },
        record,
        seed: 1,
        stats: Arc::clone(&stats),
        tracer: None,
        stop: stop.clone(),
    };
    let (started, starts) = oneshot::channel();
    let connector = Scripted(Mutex::new(script(versions.clone())));
    let supervised = tokio::spawn(supervise(connector, context, started));
    starts.await.expect("a session begins");
    let read = stats.read();
    stop.cancel();
    supervised.await.expect("no panic");
    (read.state, read.reason)
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_session_is_opened_starts_anew() {
    let ended = after(|versions| {
        vec![Box::new(move || {
            versions.send_replace(version("v2"));
            Ok(())
        })]
    });
    assert_eq!(ended.await, (State::Running, None));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_on_trial_says_why_whatever_failed_since() {
    let ended = after(|_| vec![Box::new(|| bail!("connection refused")), Box::new(|| Ok(()))]);
    assert_eq!(ended.await, (State::Suspended, Some("trap".to_owned())));
}

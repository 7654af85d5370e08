//! What a session begins with, whatever happened before it was open.

use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{anyhow, bail};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::event::{Datetime, Event, Failure, Incoming, Outgoing};
use crate::router::core::{Answer, Intake, Record};
use crate::router::stats::Stats;
use crate::router::version::Worker;
use crate::settings::Settings;
use crate::transport::{Completed, Delivery, Received};

/// What the test does to the session that it looks at.
#[derive(Default)]
struct Levers {
    /// Lets the plugin answer.
    answer: Notify,
    /// The connection is lost.
    lose: Notify,
}

#[derive(Clone)]
struct Fake(&'static str, Arc<Levers>);

impl Program for Fake {
    type Worker = Fake;

    fn name(&self) -> &str {
        "fake"
    }

    fn label(&self) -> &str {
        self.0
    }

    fn subscriptions(&self) -> &[String] {
        static ALL: LazyLock<Vec<String>> = LazyLock::new(|| vec!["#".into()]);
        &ALL
    }

    fn worker(self: &Arc<Self>) -> Fake {
        Fake::clone(self)
    }
}

/// Fails on the first person, and answers for the others when it may.
impl Worker for Fake {
    async fn route(&mut self, event: &Event, _: u32) -> Answer {
        if event.uuid.is_nil() {
            return Err(Failure::Retry("trap".into()));
        }
        self.1.answer.notified().await;
        Ok(Vec::new())
    }
}

/// Gives these persons' events.
struct Given(Vec<Uuid>, Arc<Levers>);

impl Inbox for Given {
    type Receipt = ();

    async fn next(&mut self) -> Result<Received<()>> {
        let Some(uuid) = self.0.pop() else { std::future::pending().await };
        let routing_key = "employee.it.create".into();
        let body = format!(r#"{{"uuid": "{uuid}"}}"#).into();
        let message = Incoming { routing_key, body, ..Incoming::default() };
        Ok(Received::Delivery(Delivery { message, receipt: () }))
    }

    async fn filled(&mut self) -> Result<()> {
        self.1.lose.notified().await;
        Err(anyhow!("connection reset"))
    }

    fn widen(&mut self) {}

    fn settle(&mut self, (): ()) {}

    fn unsent(&self) -> usize {
        0
    }

    fn flush(&mut self) {}

    async fn close(self) {}
}

/// Takes nothing.
struct Silent;

impl Outbox for Silent {
    fn send(&mut self, _: u64, _: Outgoing) {}

    fn copy(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    fn abandon(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    fn withdraw(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    async fn completed(&mut self) -> Result<Completed> {
        std::future::pending().await
    }
}

/// What happens while a session is opened.
type Opening = Box<dyn FnOnce() -> Result<()> + Send>;

/// Opens a session after another, each with what is said.
struct Scripted(Mutex<Vec<Opening>>, Vec<Uuid>, Arc<Levers>);

impl Connector<Fake> for Scripted {
    type Inbox = Given;
    type Outbox = Silent;

    async fn reachable(&self) {}

    async fn open(&self, _: &Version<Fake>, _: Limit, _: usize) -> Result<(Given, Silent)> {
        let next = self.0.lock().unwrap().remove(0);
        next().map(|()| (Given(self.1.clone(), Arc::clone(&self.2)), Silent))
    }
}

/// A plugin that is supervised.
struct Scene {
    versions: watch::Sender<Version<Fake>>,
    levers: Arc<Levers>,
    stats: Arc<Stats>,
    stop: CancellationToken,
}

fn version(label: &'static str, levers: &Arc<Levers>) -> Version<Fake> {
    let mut settings = Settings::default().of_plugin("fake");
    (settings.lanes, settings.limits.suspend_after) = (2, 1);
    Version { plugin: Arc::new(Fake(label, Arc::clone(levers))), settings: Arc::new(settings) }
}

impl Scene {
    /// Begins with what is known of the plugin. Each session is given the events of these persons, the
    /// last first.
    fn begin(
        record: Record,
        persons: Vec<Uuid>,
        script: impl FnOnce(&watch::Sender<Version<Fake>>, &Arc<Levers>) -> Vec<Opening>,
    ) -> (Self, impl Future<Output = ()>) {
        let levers = Arc::<Levers>::default();
        let (versions, current) = watch::channel(version("v1", &levers));
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
        let script = Mutex::new(script(&versions, &levers));
        let connector = Scripted(script, persons, Arc::clone(&levers));
        tokio::spawn(supervise(connector, context, started));
        let starts = async { starts.await.expect("a session begins") };
        (Self { versions, levers, stats, stop }, starts)
    }

    fn read(&self) -> (State, Option<String>) {
        let read = self.stats.read();
        (read.state, read.reason)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Until nothing more happens by itself.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A session that is opened.
fn opens() -> Opening {
    Box::new(|| Ok(()))
}

/// What is known of a plugin that was suspended for `trap`, and whose pause is over.
fn half_open() -> Record {
    let mut record = Record::default();
    record.breaker.on_failure(Uuid::nil(), 1, "trap");
    record.breaker.half_open();
    record
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_session_is_opened_starts_anew() {
    let (scene, starts) = Scene::begin(half_open(), Vec::new(), |versions, levers| {
        let (versions, new) = (versions.clone(), version("v2", levers));
        vec![Box::new(move || {
            versions.send_replace(new);
            Ok(())
        })]
    });
    starts.await;
    assert_eq!(scene.read(), (State::Running, None));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_on_trial_says_why_whatever_failed_since() {
    let (scene, starts) = Scene::begin(half_open(), Vec::new(), |_, _| {
        vec![Box::new(|| bail!("connection refused")), opens()]
    });
    starts.await;
    assert_eq!(scene.read(), (State::Suspended, Some("trap".to_owned())));
}

/// The first person's event opens the breaker, and the answer for the other's keeps the session.
/// Tells when the next session is opened.
async fn suspended_with_a_call_in_flight() -> (Scene, oneshot::Receiver<Instant>) {
    let persons = vec![Uuid::from_u128(1), Uuid::nil()];
    let (opened, next) = oneshot::channel();
    let opening = move || opened.send(Instant::now()).map_err(|_| anyhow!("nobody looks"));
    let script = vec![opens(), Box::new(opening)];
    let (scene, starts) = Scene::begin(Record::default(), persons, |_, _| script);
    starts.await;
    settle().await;
    (scene, next)
}

#[tokio::test(start_paused = true)]
async fn a_new_version_waits_for_no_pause_of_the_old_ones() {
    let (scene, next) = suspended_with_a_call_in_flight().await;
    scene.versions.send_replace(version("v2", &scene.levers));
    settle().await;
    let answered = Instant::now();
    scene.levers.answer.notify_one();
    assert_eq!(next.await.unwrap() - answered, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_outlives_a_lost_connection() {
    let (scene, next) = suspended_with_a_call_in_flight().await;
    let lost = Instant::now();
    scene.levers.lose.notify_one();
    settle().await;
    assert_eq!(scene.read(), (State::Suspended, Some("connection reset".to_owned())));
    let pause = next.await.unwrap() - lost;
    assert!(pause > Duration::from_secs(2), "{pause:?}, as after another failure");
}

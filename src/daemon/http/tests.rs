use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tempfile::TempDir;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::clock::Clock;
use crate::daemon::endpoints::Endpoints;
use crate::delay;
use crate::plugins::{Change, Host};
use crate::settings::{Settings, StoreUrl};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until this is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text)
    }
}

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A fleet without plugins and a broker, and what reports on it.
async fn shared(dir: &TempDir) -> (Arc<Fleet>, Shared) {
    let mut settings = Settings::default();
    settings.amqp.enabled = false;
    let (health, clock) = (Health::default(), Clock::system());
    let (endpoints, _failure) = Endpoints::new(&settings.amqp, &health);
    let (delays, _queue) = delay::handle(1);
    let host = Arc::new(Host::new(None, clock.clone()).unwrap());
    let http = settings.http.clone();
    let fleet = Fleet::new(host, settings, endpoints, delays, clock, health.clone(), None);
    let fleet = Arc::new(fleet);
    let store = Store::open(&StoreUrl::Sqlite(dir.path().join("delays.db"))).await.unwrap();
    let observed = Observed::new(health, Hold::none());
    observed.set(&fleet, store, None);
    (fleet, Shared::new(observed, Guard::new(http, 0)))
}

#[test]
fn a_removal_is_logged_though_whoever_asked_has_gone() {
    let log = Log::default();
    let logged = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _logged = tracing::subscriber::set_default(logged);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let dir = TempDir::new().unwrap();
        let (fleet, shared) = shared(&dir).await;
        let (path, reason) = (PathBuf::from("/nowhere/test.wasm"), "it is none".to_owned());
        fleet.follow(Change::Unusable { name: "test".to_owned(), path, reason });
        until("there is a plugin", || !fleet.statuses_here().is_empty()).await;
        // The one thread that could say whether its file is there is busy.
        let (frees, busy) = sync_channel::<()>(0);
        let occupied = tokio::task::spawn_blocking(move || busy.recv());
        let asking = remove(Changer::somebody(), State(shared), Path("test".to_owned()));
        assert!(tokio::time::timeout(Duration::from_millis(50), asking).await.is_err());
        drop(frees);
        occupied.await.unwrap().unwrap_err();
        until("it is logged", || log.has("changed over HTTP: plugin test is removed")).await;
        assert!(fleet.statuses_here().is_empty());
    });
}

//! From finished spans to a collector.

mod send;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use self::send::{Collector, Sender};
use super::queue::Queue;
use super::sampling::Sampling;
use super::tracer::{Place, Tracer};
use crate::health::{Code, Health};
use crate::settings::Telemetry;

/// How long a stop waits for the last spans.
const LAST: Duration = Duration::from_secs(2);

/// Sends spans on a thread of its own until it is closed.
#[derive(Debug)]
pub struct Exporter {
    tracer: Tracer,
    queue: Arc<Queue>,
    ended: oneshot::Receiver<()>,
}

impl Exporter {
    /// Starts to send, if there is a collector to send to. What goes wrong is reported to the
    /// health, and concerns nothing else.
    pub fn start(settings: &Telemetry, place: Place, health: &Health) -> Option<Self> {
        let url = settings.traces_url()?;
        let collector = match Collector::new(settings, url) {
            Ok(collector) => collector,
            Err(error) => {
                let text = format!("spans are lost: {error:#}");
                health.report(Code::TracesNotSent, send::SUBJECT, &text);
                return None;
            }
        };
        let queue = Arc::new(Queue::default());
        let sampling = Sampling::of(settings.sample);
        let tracer = Tracer::new(sampling, place, Arc::clone(&queue));
        let (end, ended) = oneshot::channel();
        let sender = Sender::new(collector, Arc::clone(&queue), health.clone());
        let started = std::thread::Builder::new().name("traces".into()).spawn(move || {
            sender.run();
            // Nobody may be waiting.
            let _ = end.send(());
        });
        match started {
            Ok(_) => {
                info!(sample = settings.sample, "traces are sent to a collector");
                Some(Self { tracer, queue, ended })
            }
            Err(error) => {
                let text =
                    format!("spans are lost: no thread can be started to send them: {error}");
                health.report(Code::TracesNotSent, send::SUBJECT, &text);
                None
            }
        }
    }

    /// What makes the spans.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Sends what is left, once, and ends; waits for that no longer than seconds.
    pub async fn close(self) {
        self.queue.close();
        if tokio::time::timeout(LAST, self.ended).await.is_err() {
            warn!("the last spans were not sent in time and are lost");
        }
    }
}

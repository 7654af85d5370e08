//! What one guest says, and which event it says it about.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use tracing::Level;
use uuid::Uuid;

use super::{Log, Threshold, lock};
use crate::event::Event;

/// The log of a plugin, as one of its guests has it. Clones are of the same guest.
#[derive(Clone)]
pub(in crate::plugins) struct Voice {
    log: Arc<Log>,
    threshold: Arc<Threshold>,
    about: Arc<Mutex<About>>,
}

/// What the guest is called with.
#[derive(Debug, Default)]
pub(super) struct About {
    /// The event; none while the guest starts or says what it subscribes to.
    pub(super) event: Option<LineEvent>,
    /// Kept for the next one, to allocate nothing for it.
    spare: Option<LineEvent>,
}

/// The event that a line belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineEvent {
    /// Its routing key.
    pub routing_key: String,
    /// Its person or unit.
    pub uuid: Uuid,
    /// Its `message_id`, if it has one.
    pub message_id: Option<String>,
    /// Which attempt it was to route it, from 1.
    pub attempt: u32,
}

impl Voice {
    pub(in crate::plugins) fn new(log: &Arc<Log>, threshold: &Arc<Threshold>) -> Self {
        let (log, threshold) = (Arc::clone(log), Arc::clone(threshold));
        Self { log, threshold, about: Arc::default() }
    }

    /// From now on lines are about this event.
    pub(in crate::plugins) fn begin(&self, event: &Event, attempt: u32) {
        let mut about = lock(&self.about);
        let mut now = about.spare.take().unwrap_or_default();
        now.routing_key.clear();
        now.routing_key.push_str(&event.message.routing_key);
        now.uuid = event.uuid;
        now.message_id.clone_from(&event.message.properties.message_id);
        now.attempt = attempt;
        about.event = Some(now);
    }

    /// The call with the event is over.
    pub(in crate::plugins) fn end(&self) {
        let mut about = lock(&self.about);
        if let Some(event) = about.event.take() {
            about.spare = Some(event);
        }
        drop(about);
        self.log.call_over();
    }

    /// Logs a line, of which `cut` bytes are missing.
    pub(super) fn line(&self, level: Level, context: &str, line: &str, cut: usize) {
        if self.threshold.admits(level) {
            self.log.message(&lock(&self.about), level, context, line, cut);
        }
    }
}

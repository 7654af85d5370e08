//! Instances of a plugin: events in, publications out.

use std::sync::Arc;

use anyhow::Result;

use super::call::RunningGuest;
use super::plugin::Plugin;
use crate::event::{Event, Failure, Fault, Publication};
use crate::settings::InstanceMode;

/// One instance of a plugin. It routes one event at a time.
///
/// No event affects the next: after a trap, an exceeded limit or a call that was
/// dropped halfway, and with `instance = "fresh"` after every event, the guest is
/// thrown away and the next event starts a new one.
pub struct Instance {
    plugin: Arc<Plugin>,
    guest: Option<RunningGuest>,
}

impl Plugin {
    /// An instance that starts its guest with the first event.
    pub fn instance(self: &Arc<Self>) -> Instance {
        Instance { plugin: self.clone(), guest: None }
    }

    /// An instance whose guest has started.
    ///
    /// # Errors
    /// The guest trapped or exceeded a limit while starting.
    pub async fn instantiate(self: &Arc<Self>) -> Result<Instance> {
        let guest = Some(RunningGuest::start(&self.guest, &self.setup).await?);
        Ok(Instance { plugin: self.clone(), guest })
    }
}

impl Instance {
    /// The plugin that this is an instance of.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Asks the plugin what to do with an event. `attempt` counts from 1.
    ///
    /// # Errors
    /// The plugin's own [`Failure::Retry`] or [`Failure::Reject`]; or
    /// [`Failure::Broken`] if it trapped or exceeded a limit, with the reason.
    pub async fn route(
        &mut self,
        event: &Event,
        attempt: u32,
    ) -> Result<Vec<Publication>, Failure> {
        // Taken rather than borrowed: a call that is dropped halfway must not leave
        // its guest for the next event.
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => RunningGuest::start(&self.plugin.guest, &self.plugin.setup)
                .await
                .map_err(|error| Failure::Broken(format!("{error:#}"), Fault::Trap))?,
        };
        let answer = guest.route(event, attempt).await;
        let broken = matches!(answer, Err(Failure::Broken(..)));
        if !broken && self.plugin.mode == InstanceMode::Kept {
            self.guest = Some(guest);
        }
        answer
    }
}

//! One version of a plugin, with the settings that it was loaded with.

use std::sync::Arc;

use super::core::{Answer, Terms};
use super::planned::Author;
use crate::event::Event;
use crate::event::topic;
use crate::plugins::{Instance, Plugin};
use crate::settings::PluginSettings;

/// What routes events: a WebAssembly plugin, or a simulation's.
pub trait Program: Send + Sync + 'static {
    /// What routes one event at a time.
    type Worker: Worker;

    /// The plugin's name.
    fn name(&self) -> &str;

    /// What tells this version from others.
    fn label(&self) -> &str;

    /// The topic patterns of the events that it asks for.
    fn subscriptions(&self) -> &[String];

    /// A worker that starts with its first event.
    fn worker(self: &Arc<Self>) -> Self::Worker;
}

/// Routes one event at a time.
pub trait Worker: Send + 'static {
    /// What to do with an event; `attempt` is 1 at first. If the future is dropped, the
    /// next event finds the worker as good as new.
    fn route(&mut self, event: &Event, attempt: u32) -> impl Future<Output = Answer> + Send;
}

impl Program for Plugin {
    type Worker = Instance;

    fn name(&self) -> &str {
        &self.name
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn subscriptions(&self) -> &[String] {
        &self.subscriptions
    }

    fn worker(self: &Arc<Self>) -> Instance {
        self.instance()
    }
}

impl Worker for Instance {
    async fn route(&mut self, event: &Event, attempt: u32) -> Answer {
        Instance::route(self, event, attempt).await
    }
}

/// One version of a plugin, with the settings that it was loaded with.
pub struct Version<P = Plugin> {
    /// The plugin.
    pub plugin: Arc<P>,
    /// Its settings.
    pub settings: Arc<PluginSettings>,
}

impl<P> Clone for Version<P> {
    fn clone(&self) -> Self {
        Self { plugin: Arc::clone(&self.plugin), settings: Arc::clone(&self.settings) }
    }
}

impl<P: Program> Version<P> {
    /// What the rules have to know of it.
    pub fn terms(&self, output_exchange: &str) -> Terms {
        Terms {
            author: self.author(output_exchange),
            subscriptions: self.subscriptions().to_vec(),
            attempts: self.settings.limits.attempts,
            suspend_after: self.settings.limits.suspend_after as usize,
            parallel: self.settings.lanes > 1,
        }
    }

    /// Who its answers come from.
    pub fn author(&self, output_exchange: &str) -> Author {
        Author {
            plugin: self.plugin.name().to_owned(),
            version: self.plugin.label().to_owned(),
            granted: self.settings.exchanges.clone(),
            output_exchange: output_exchange.to_owned(),
        }
    }

    /// The topic patterns of the events that the plugin gets.
    pub fn subscriptions(&self) -> &[String] {
        self.settings.subscriptions.as_deref().unwrap_or(self.plugin.subscriptions())
    }

    /// Whether it gets the events of a routing key.
    pub fn subscribes_to(&self, routing_key: &str) -> bool {
        topic::any_matches(self.subscriptions(), routing_key)
    }
}

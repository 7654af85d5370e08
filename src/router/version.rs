//! One version of a plugin, with the settings that it was loaded with.

use std::sync::Arc;

use super::answer::Author;
use super::lanes::Lanes;
use crate::event::topic;
use crate::plugins::Plugin;
use crate::settings::PluginSettings;

/// One version of a plugin, with the settings that it was loaded with.
#[derive(Clone)]
pub struct Version {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its settings.
    pub settings: Arc<PluginSettings>,
}

impl Version {
    /// Who its answers come from.
    pub fn author(&self, output_exchange: &str) -> Author {
        Author {
            plugin: self.plugin.name.clone(),
            version: self.plugin.version.clone(),
            granted: self.settings.exchanges.clone(),
            output_exchange: output_exchange.to_owned(),
        }
    }

    pub(super) fn lanes<R: Send + 'static>(&self) -> Lanes<R> {
        Lanes::new(&self.plugin, self.settings.lanes)
    }

    /// The topic patterns of the events that the plugin gets.
    pub fn subscriptions(&self) -> &[String] {
        self.settings.subscriptions.as_deref().unwrap_or(&self.plugin.subscriptions)
    }

    /// Whether it gets the events of a routing key.
    pub fn subscribes_to(&self, routing_key: &str) -> bool {
        self.subscriptions()
            .iter()
            .any(|pattern| pattern == "#" || topic::matches(pattern, routing_key))
    }
}

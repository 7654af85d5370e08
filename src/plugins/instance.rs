//! Instances of a plugin: events in, publications out.

use std::sync::Arc;

use anyhow::Result;

use super::call::RunningGuest;
use super::plugin::Plugin;
use crate::event::{Event, Failure, Publication};
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
        let guest = Some(RunningGuest::start(&self.homes, &self.setup).await?);
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
            None => RunningGuest::start(&self.plugin.homes, &self.plugin.setup)
                .await
                .map_err(Failure::from)?,
        };
        let answer = guest.route(event, attempt).await;
        let broken = matches!(answer, Err(Failure::Broken(..)));
        if !broken && self.plugin.mode == InstanceMode::Kept {
            self.guest = Some(guest);
        }
        answer
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use wit_component::StringEncoding;

    use super::*;
    use crate::clock::Clock;
    use crate::event::{Fault, Incoming};
    use crate::plugins::engine::POOL;
    use crate::plugins::{Host, PluginFile};
    use crate::settings::{PluginSettings, Settings};

    /// The content of a plugin's file.
    pub(in crate::plugins) fn module() -> Vec<u8> {
        built(include_str!("../../tests/hostile/well-behaved.wat"))
    }

    /// The same of another one's text.
    pub(in crate::plugins) fn built(text: &str) -> Vec<u8> {
        let mut module = wat::parse_str(text).unwrap();
        let (mut resolve, root) = (wit_parser::Resolve::default(), env!("CARGO_MANIFEST_DIR"));
        let (package, _) = resolve.push_dir(format!("{root}/wit")).unwrap();
        let world = resolve.select_world(&[package], Some("plugin")).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .unwrap();
        module
    }

    async fn plugin(mode: InstanceMode, cache: Option<&Path>) -> Plugin {
        let (name, path) = ("test".into(), "plugins/test.wasm".into());
        let file = PluginFile::new(name, path, module().into());
        let host = Arc::new(Host::new(cache.map(Path::to_owned), Clock::system()).unwrap());
        let settings = PluginSettings { instance: mode, ..Settings::default().of_plugin("test") };
        let plugin = host.load(file, &settings).await.unwrap();
        Arc::into_inner(plugin).unwrap()
    }

    #[tokio::test]
    async fn a_guest_that_does_not_start_says_how_it_broke() {
        let mut plugin = plugin(InstanceMode::Kept, None).await;
        plugin.setup.limits.memory = 1;
        let body = r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"}"#.into();
        let message =
            Incoming { routing_key: "employee.it.create".into(), body, ..Incoming::default() };
        let event = Event::parse(message, chrono_tz::UTC).unwrap();
        let broken = Arc::new(plugin).instance().route(&event, 1).await;
        let Err(Failure::Broken(reason, fault)) = broken else { panic!("{broken:?}") };
        assert!(reason.starts_with("the plugin does not start: it needs"), "{reason}");
        assert_eq!(fault, Fault::Memory);
    }

    #[tokio::test]
    async fn guests_that_the_pool_has_no_room_for_start_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        for cache in [None, Some(dir.path())] {
            let plugin = Arc::new(plugin(InstanceMode::Fresh, cache).await);
            let mut instances = Vec::new();
            for _ in 0..=POOL {
                instances.push(plugin.instantiate().await.expect("it starts"));
            }
        }
    }

    #[tokio::test]
    async fn a_guest_that_finds_no_room_says_so() {
        let mut plugin = plugin(InstanceMode::Fresh, None).await;
        Arc::get_mut(&mut plugin.homes).unwrap().spare = None;
        let (plugin, mut instances) = (Arc::new(plugin), Vec::new());
        for _ in 0..POOL {
            instances.push(plugin.instantiate().await.expect("it starts"));
        }
        let error = plugin.instantiate().await.err().expect("there is no room").to_string();
        assert!(error.contains("no room for one more instance beside those"), "{error}");
        instances.pop();
        plugin.instantiate().await.expect("there is room again");
    }
}

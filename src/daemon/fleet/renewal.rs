//! How a version that runs takes new settings. Its file may be gone wrong since: it does not wait for
//! a good one, or what it was granted once could not be taken from it.

use std::sync::Arc;

use tracing::error;

use super::life::{Attempt, File, Life, Refusal, Running, told};
use super::load::may_pass;
use super::{Fleet, Happened};
use crate::router::{LoadOutcome, Version};

impl Fleet {
    /// Gives a plugin the settings of now: the version that runs, from the code that it has; and has
    /// its file tried with them, unless that is what runs.
    pub(super) async fn renew(self: &Arc<Self>, name: &str) {
        let settings = Arc::new(self.settings().of_plugin(name));
        let here = self.running(name, |running| (running.version(), running.file().clone()));
        let Some((old, file)) = here else { return self.report_again(name) };
        let mut is_to_be_tried = matches!(file, File::Refused(_));
        let mut in_vain = 0;
        if old.settings != settings {
            let loading = self.host.with_settings(&old.plugin, &settings);
            // A newer file does not end it: that may be refused.
            let Some(loaded) = self.stop.run_until_cancelled(loading).await else { return };
            let is_here =
                |running: &mut Running| Arc::ptr_eq(&running.version().plugin, &old.plugin);
            if self.running(name, is_here) != Some(true) {
                // It was removed by name meanwhile.
                return;
            }
            let own = file.own(&old).cloned();
            // With the code, what is there has been tried.
            is_to_be_tried &= own.is_none();
            let attempt = own.map(|file| Attempt { file, settings: Arc::clone(&settings) });
            match loaded {
                Ok(plugin) => {
                    self.stats_of(name).measures().loads.add(LoadOutcome::Loaded);
                    self.note(name, Happened::Replaced, Some(&plugin.version), None);
                    let file = attempt.map_or(file, File::Loaded);
                    self.replace(name, &old, Version { plugin, settings }, file).await;
                }
                Err(error) => {
                    let passes = may_pass(&error)
                        .map(|why| (why, self.try_again(name, Life::settings_in_vain)));
                    in_vain = passes.map_or(0, |(_, failures)| failures);
                    let reason = told(&error, passes.map(|(why, _)| why));
                    error!(
                        plugin = name,
                        "new settings refused, the old ones stay in effect: {reason}"
                    );
                    if let Some(attempt) = attempt {
                        self.refuse(name, Refusal::by_host(&error, &attempt, passes));
                    }
                }
            }
        }
        // Whatever becomes of its file: that does not say when they are tried again.
        self.running(name, |running| running.note_settings_in_vain(in_vain));
        if is_to_be_tried {
            self.report_again(name);
        }
    }
}

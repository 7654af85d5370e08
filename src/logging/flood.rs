//! Lines that are too many: 20,000 events that fail for one reason need not be 20,000 lines.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, warn};
use tracing_subscriber::layer::{Context, Filter};

use super::CHANGES;

/// How many lines of one kind are written in a period.
const WRITTEN: u64 = 100;
/// After so long, what was not written is told, and lines are written again.
const PERIOD: Duration = Duration::from_secs(60);
/// Kinds that are told apart; the lines of others are written as they come.
const KINDS: usize = 1000;

/// What plugins log, of which `plugins/log.rs` itself writes so much and no more.
const PLUGINS: &str = "mo_router::plugins::log";

/// Writes the first lines of each kind, and once in a minute how many more there were. A kind
/// is what is written at one place of the program about one plugin. What people ask for
/// (`debug`, `trace`) is written as it is, and so is each change that somebody makes.
#[derive(Clone, Debug, Default)]
pub struct Flood(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    kinds: BTreeMap<Kind, Lines>,
    /// Whether somebody waits for the end of the period.
    is_watched: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    place: (&'static str, u32),
    plugin: String,
}

#[derive(Debug, Default)]
struct Lines {
    count: u64,
    /// One of them.
    sample: String,
}

/// Reads the fields of a line.
#[derive(Default)]
struct Fields {
    plugin: String,
    message: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "plugin" {
            self.plugin = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "plugin" => self.plugin = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}

impl<S: Subscriber> Filter<S> for Flood {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || [PLUGINS, CHANGES].contains(&metadata.target()) {
            return true;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let place = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        self.is_written(Kind { place, plugin: fields.plugin }, fields.message)
    }
}

impl Flood {
    fn is_written(&self, kind: Kind, message: String) -> bool {
        let mut state = self.state();
        if state.kinds.len() >= KINDS && !state.kinds.contains_key(&kind) {
            return true;
        }
        let lines = state.kinds.entry(kind).or_default();
        lines.count += 1;
        let is_written = lines.count <= WRITTEN;
        if !is_written {
            lines.sample = message;
        }
        if !std::mem::replace(&mut state.is_watched, true) {
            drop(state);
            self.watch();
        }
        is_written
    }

    /// Tells at the end of the period what was not written, for as long as there is something.
    fn watch(&self) {
        let flood = self.clone();
        let watching = std::thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                // May return early, which does no harm: the period is then shorter.
                std::thread::park_timeout(PERIOD);
                let untold = flood.end_period();
                if untold.is_empty() {
                    return;
                }
                for (plugin, more, sample) in untold {
                    match plugin.as_str() {
                        "" => warn!(more, "{more} more lines in a minute like: {sample}"),
                        plugin => {
                            warn!(plugin, more, "{more} more lines in a minute like: {sample}");
                        }
                    }
                }
            }
        });
        if watching.is_err() {
            // Without threads, better too many lines than none.
            self.state().is_watched = false;
        }
    }

    /// What was not written in the period, by plugin, with one of the lines. A period without
    /// such lines ends the watch.
    fn end_period(&self) -> Vec<(String, u64, String)> {
        let mut state = self.state();
        let kinds = std::mem::take(&mut state.kinds);
        let untold: Vec<_> = kinds
            .into_iter()
            .filter(|(_, lines)| lines.count > WRITTEN)
            .map(|(kind, lines)| (kind.plugin, lines.count - WRITTEN, lines.sample))
            .collect();
        state.is_watched = !untold.is_empty();
        untold
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No holder leaves anything half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: u32, plugin: &str) -> Kind {
        Kind { place: ("file.rs", line), plugin: plugin.to_owned() }
    }

    #[test]
    fn the_first_lines_of_each_kind_are_written_and_the_others_counted() {
        let flood = Flood::default();
        // Nobody ends the period but the test.
        flood.state().is_watched = true;
        let written = (0..20_000).filter(|n| flood.is_written(kind(1, "a"), format!("line {n}")));
        assert_eq!(written.count() as u64, WRITTEN);
        assert!(flood.is_written(kind(1, "b"), "another plugin".into()));
        assert!(flood.is_written(kind(2, "a"), "another place".into()));
        let untold = flood.end_period();
        assert_eq!(untold, [("a".to_owned(), 20_000 - WRITTEN, "line 19999".to_owned())]);
        assert!(flood.is_written(kind(1, "a"), "a new period".into()));
        assert_eq!(flood.end_period(), []);
        assert!(!flood.state().is_watched);
    }

    #[test]
    fn kinds_are_bounded() {
        let flood = Flood::default();
        flood.state().is_watched = true;
        for line in 0..2 * KINDS as u32 {
            assert!(flood.is_written(kind(line, ""), String::new()));
        }
        assert_eq!(flood.state().kinds.len(), KINDS);
    }
}

//! From which level on a plugin's lines are logged.

use std::sync::atomic::{AtomicU8, Ordering};

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::settings::LogLevel;

/// No level is set for the plugin: the router's own holds.
const AS_THE_ROUTER: u8 = u8::MAX;

/// The level of one version of a plugin: of settings that are refused, it concerns nobody else.
pub(in crate::plugins) struct Threshold(AtomicU8);

impl Default for Threshold {
    fn default() -> Self {
        Self(AtomicU8::new(AS_THE_ROUTER))
    }
}

impl Threshold {
    /// Logs from this level on; if none, from that on from which the router itself does.
    pub(in crate::plugins) fn of(level: Option<LogLevel>) -> Self {
        let threshold = Self::default();
        threshold.set(level);
        threshold
    }

    /// The same from now on, also for guests that run.
    pub(in crate::plugins) fn set(&self, level: Option<LogLevel>) {
        self.0.store(level.map_or(AS_THE_ROUTER, |level| level as u8), Ordering::Relaxed);
    }

    /// Whether lines of this level are logged.
    pub(super) fn admits(&self, level: Level) -> bool {
        let set = match self.0.load(Ordering::Relaxed) {
            AS_THE_ROUTER => return is_logged_by_the_router(level),
            set if set == LogLevel::Off as u8 => LevelFilter::OFF,
            set if set == LogLevel::Error as u8 => LevelFilter::ERROR,
            set if set == LogLevel::Warn as u8 => LevelFilter::WARN,
            set if set == LogLevel::Info as u8 => LevelFilter::INFO,
            set if set == LogLevel::Debug as u8 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        level <= set
    }
}

/// Whether `RUST_LOG`, or its default, admits the level for the module beside this one. Of
/// `plugins::log` itself everything is admitted, because it is judged here.
fn is_logged_by_the_router(level: Level) -> bool {
    const PLUGINS: &str = "mo_router::plugins";
    match level {
        Level::TRACE => tracing::enabled!(target: PLUGINS, Level::TRACE),
        Level::DEBUG => tracing::enabled!(target: PLUGINS, Level::DEBUG),
        Level::INFO => tracing::enabled!(target: PLUGINS, Level::INFO),
        Level::WARN => tracing::enabled!(target: PLUGINS, Level::WARN),
        Level::ERROR => tracing::enabled!(target: PLUGINS, Level::ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_below_the_level_are_not_logged() {
        let threshold = Threshold::default();
        // In a test nothing is logged, unless a level is set for the plugin.
        assert!(!threshold.admits(Level::ERROR));
        for (level, debug, warn) in [
            (LogLevel::Off, false, false),
            (LogLevel::Error, false, false),
            (LogLevel::Warn, false, true),
            (LogLevel::Info, false, true),
            (LogLevel::Debug, true, true),
            (LogLevel::Trace, true, true),
        ] {
            threshold.set(Some(level));
            let admitted = (threshold.admits(Level::DEBUG), threshold.admits(Level::WARN));
            assert_eq!(admitted, (debug, warn), "{level:?}");
        }
        threshold.set(None);
        assert!(!threshold.admits(Level::ERROR));
    }
}

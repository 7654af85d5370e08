//! How long a plugin's calls take.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::samples::{Sample, samples};
use super::{SampleOutcome, SampleResult};
use crate::router::Version;
use crate::settings::{InstanceMode, Settings};

/// How many calls are measured, if there is time.
const CALLS: usize = 400;

/// After so long no further call is begun.
const ENOUGH: Duration = Duration::from_secs(2);

/// The sample of a body of 1 MiB says nothing of what MO sends.
const LARGE: usize = 64 << 10;

/// A call that takes longer is worth a look: compiling a regular expression does.
const SLOW_CALL: Duration = Duration::from_millis(1);

/// How long calls take.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pace {
    /// How many were measured.
    calls: usize,
    /// Half of them take no longer, in microseconds.
    median_us: f64,
    /// The one that took longest, in microseconds.
    slowest_us: f64,
}

/// Measures calls with the samples that the plugin subscribes to and that do not break it; if
/// it subscribes to none, with all. The first call with each is not counted: a kept instance
/// starts with it. What the plugin logs has been seen, and is not logged any more.
pub(super) async fn measure(
    version: &Version,
    settings: &Settings,
    results: &[SampleResult],
) -> Option<Pace> {
    let breaks = |result: &SampleResult| matches!(result.outcome, SampleOutcome::Broken(_));
    let all = samples(settings, version.subscriptions());
    let tried: Vec<(&Sample, &SampleResult)> = all
        .iter()
        .zip(results)
        .filter(|(sample, result)| !breaks(result) && sample.event.message.body.len() < LARGE)
        .collect();
    let only = tried.iter().any(|(_, result)| result.subscribed);
    let chosen: Vec<&Sample> = tried
        .into_iter()
        .filter_map(|(sample, result)| (result.subscribed || !only).then_some(sample))
        .collect();
    version.plugin.mute();
    let mut instance = version.plugin.instance();
    for sample in &chosen {
        // What it answers has been reported.
        let _ = instance.route(&sample.event, sample.attempt).await;
    }
    let begun = Instant::now();
    let mut took = Vec::with_capacity(CALLS);
    for sample in chosen.iter().cycle().take(CALLS) {
        let before = Instant::now();
        let _ = instance.route(&sample.event, sample.attempt).await;
        took.push(before.elapsed());
        if begun.elapsed() > ENOUGH {
            break;
        }
    }
    Pace::of(took)
}

impl Pace {
    fn of(mut took: Vec<Duration>) -> Option<Self> {
        took.sort();
        let microseconds = |took: &Duration| (took.as_secs_f64() * 1e7).round() / 10.0;
        Some(Self {
            calls: took.len(),
            median_us: took.get(took.len() / 2).map(microseconds)?,
            slowest_us: took.last().map(microseconds)?,
        })
    }

    fn median(&self) -> Duration {
        Duration::from_secs_f64(self.median_us / 1e6)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, slowest] = [self.median_us, self.slowest_us].map(shown);
        write!(f, "{median} (median of {} calls; the slowest {slowest})", self.calls)
    }
}

/// A time in the unit in which it can be read.
fn shown(microseconds: f64) -> String {
    match microseconds {
        long if long >= 1000.0 => format!("{:.1} ms", long / 1000.0),
        short => format!("{short:.1} µs"),
    }
}

/// What would be slow in a router, and what to do about it.
pub(super) fn warnings(version: &Version, pace: Option<&Pace>) -> Vec<String> {
    let (plugin, settings) = (&version.plugin, &version.settings);
    let mut warnings = Vec::new();
    if let Some(pace) = pace {
        let median = pace.median();
        if median >= SLOW_CALL {
            let advice = match settings.instance {
                InstanceMode::Kept => {
                    "do once, outside of route, what does not depend on the event (compile regular \
                     expressions, read settings, parse tables)"
                }
                InstanceMode::Fresh => {
                    "instance = \"fresh\" starts an instance for each of them; is that needed?"
                }
            };
            let rate = settings.lanes as f64 / median.as_secs_f64();
            let lanes = match settings.lanes {
                1 => "one worker".to_owned(),
                lanes => format!("{lanes} workers ([plugin.{}] lanes)", plugin.name),
            };
            warnings.push(format!(
                "{lanes} will route some {rate:.0} events a second at most: {advice}"
            ));
        }
        if median * 2 >= settings.limits.timeout {
            let limit = humantime::format_duration(settings.limits.timeout);
            warnings.push(format!(
                "that is more than half of the {limit} that a call may take ([limits] timeout); on a \
                 busy machine calls will fail"
            ));
        }
    }
    if !plugin.cached && plugin.compile_time * 2 >= settings.limits.compile_timeout {
        let limit = humantime::format_duration(settings.limits.compile_timeout);
        warnings.push(format!(
            "compiling takes more than half of the {limit} that it may ([limits] compile_timeout)"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_the_median() {
        assert!(Pace::of(Vec::new()).is_none());
        let took = [900, 2, 3, 1, 1_800_000].map(Duration::from_micros);
        let pace = Pace::of(took.to_vec()).expect("calls");
        assert_eq!((pace.median_us, pace.slowest_us), (3.0, 1_800_000.0));
        assert_eq!(pace.to_string(), "3.0 µs (median of 5 calls; the slowest 1800.0 ms)");
    }
}

//! The metrics, in Prometheus' text format.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Status;
use crate::daemon::Report;
use crate::router::State;

/// What the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The status as metrics.
pub fn render(status: &Status) -> String {
    let mut registry = Registry::with_prefix("mo_router");
    registry.register_collector(Box::new(Reading {
        ready: status.ready,
        delayed: status.delayed,
        dead_letters: status.dead_letters,
        plugins: status.plugins.iter().map(Plugin::of).collect(),
    }));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Reading {
    ready: bool,
    delayed: Option<u64>,
    dead_letters: Option<u32>,
    plugins: Vec<Plugin>,
}

#[derive(Debug)]
struct Plugin {
    name: String,
    version: String,
    counters: [(&'static str, &'static str, u64); 6],
    gauges: [(&'static str, &'static str, Option<i64>); 4],
}

impl Plugin {
    fn of(report: &Report) -> Self {
        let reading = &report.reading;
        let is = |truth: bool| Some(i64::from(truth));
        Self {
            name: report.name.clone(),
            version: report.version.clone().unwrap_or_default(),
            counters: [
                ("events_received", "Events received", reading.received),
                (
                    "messages_published",
                    "Messages that plugins asked to be published",
                    reading.published,
                ),
                ("messages_delayed", "Of those, the delayed ones", reading.delayed),
                ("events_dropped", "Events answered with nothing", reading.dropped),
                ("failures", "Tries that failed", reading.failures),
                ("dead_letters", "Dead letters", reading.dead),
            ],
            gauges: [
                (
                    "backlog",
                    "Messages waiting in the plugin's queue",
                    report.backlog.map(i64::from),
                ),
                ("running", "Whether the plugin takes events", is(reading.state == State::Running)),
                (
                    "suspended",
                    "Whether the plugin is suspended",
                    is(reading.state == State::Suspended),
                ),
                ("stale", "Whether the plugin's file is not what runs", is(report.stale.is_some())),
            ],
        }
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("plugin", &self.name), ("version", &self.version)]
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        one(&mut encoder, "ready", "Whether every plugin takes events", i64::from(self.ready))?;
        if let Some(delayed) = self.delayed {
            one(&mut encoder, "delayed", "Messages that are not due yet", delayed as i64)?;
        }
        if let Some(waiting) = self.dead_letters {
            let help = "Dead letters waiting in mo-router.dead, the delayed messages' among them";
            one(&mut encoder, "dead_letter_backlog", help, waiting.into())?;
        }
        let Some(first) = self.plugins.first() else { return Ok(()) };
        for (at, (name, help, _)) in first.counters.iter().enumerate() {
            let kind = ConstCounter::new(0u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            for plugin in &self.plugins {
                let counter = ConstCounter::new(plugin.counters[at].2);
                counter.encode(family.encode_family(&plugin.labels())?)?;
            }
        }
        for (at, (name, help, _)) in first.gauges.iter().enumerate() {
            let kind = ConstGauge::new(0i64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            for plugin in &self.plugins {
                if let Some(value) = plugin.gauges[at].2 {
                    ConstGauge::new(value).encode(family.encode_family(&plugin.labels())?)?;
                }
            }
        }
        Ok(())
    }
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None::<&Unit>, gauge.metric_type())?)
}

//! The metrics, in Prometheus' text format.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::status::Status;
use crate::daemon::PluginStatus;
use crate::health::Code;
use crate::plugins::LogLines;
use crate::router::State;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The status as metrics.
pub fn render(status: &Status) -> String {
    let mut registry = Registry::with_prefix("mo_router");
    registry.register_collector(Box::new(StatusMetrics {
        ready: status.ready,
        reasons: status.reasons.iter().map(|reason| reason.code).collect(),
        delayed: status.delayed,
        dead_letters: status.dead_letters,
        plugins: status.plugins.iter().map(PluginMetrics::of).collect(),
    }));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct StatusMetrics {
    ready: bool,
    reasons: Vec<Code>,
    delayed: Option<u64>,
    dead_letters: Option<u32>,
    plugins: Vec<PluginMetrics>,
}

#[derive(Debug)]
struct PluginMetrics {
    name: String,
    version: String,
    log_lines: LogLines,
    counters: [(&'static str, &'static str, u64); 6],
    gauges: [(&'static str, &'static str, Option<i64>); 4],
}

impl PluginMetrics {
    fn of(status: &PluginStatus) -> Self {
        let stats = &status.stats;
        let flag = |set: bool| Some(i64::from(set));
        Self {
            name: status.name.clone(),
            version: status.version.clone().unwrap_or_default(),
            log_lines: status.log_lines,
            counters: [
                ("events_received", "Events received", stats.received),
                (
                    "messages_published",
                    "Messages that plugins asked to be published",
                    stats.published,
                ),
                (
                    "messages_delayed",
                    "Messages that plugins asked to be published later",
                    stats.delayed,
                ),
                ("events_dropped", "Events answered with nothing", stats.dropped),
                ("failures", "Attempts that failed", stats.failures),
                ("dead_letters", "Dead letters", stats.dead),
            ],
            gauges: [
                (
                    "backlog",
                    "Messages waiting in the plugin's queue",
                    status.backlog.map(i64::from),
                ),
                ("running", "Whether the plugin takes events", flag(stats.state == State::Running)),
                (
                    "suspended",
                    "Whether the plugin is suspended",
                    flag(stats.state == State::Suspended),
                ),
                (
                    "stale",
                    "Whether the plugin's current file was refused",
                    flag(status.stale.is_some()),
                ),
            ],
        }
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("plugin", &self.name), ("version", &self.version)]
    }
}

impl Collector for StatusMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        gauge(
            &mut encoder,
            "ready",
            "Whether every plugin takes events or is suspended",
            i64::from(self.ready),
        )?;
        let help = "Whether the router is not ready for this reason";
        let kind = ConstGauge::new(0i64).metric_type();
        let mut family =
            encoder.encode_descriptor("not_ready_reason", help, None::<&Unit>, kind)?;
        for code in Code::NOT_READY {
            let value = ConstGauge::new(i64::from(self.reasons.contains(&code)));
            value.encode(family.encode_family(&[("reason", code.as_str())])?)?;
        }
        let is_blocked = self.reasons.contains(&Code::BrokerBlocked);
        let help = "Whether the broker takes no messages, being short of memory or disk space";
        gauge(&mut encoder, "broker_blocked", help, i64::from(is_blocked))?;
        if let Some(delayed) = self.delayed {
            gauge(&mut encoder, "delayed", "Messages that are not due yet", delayed as i64)?;
        }
        if let Some(dead_letters) = self.dead_letters {
            let help = "Dead letters in mo-router.dead, including those of delayed messages";
            gauge(&mut encoder, "dead_letter_backlog", help, dead_letters.into())?;
        }
        let Some(first) = self.plugins.first() else { return Ok(()) };
        for (index, (name, help, _)) in first.counters.iter().enumerate() {
            let kind = ConstCounter::new(0u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            for plugin in &self.plugins {
                let counter = ConstCounter::new(plugin.counters[index].2);
                counter.encode(family.encode_family(&plugin.labels())?)?;
            }
        }
        for (index, (name, help, _)) in first.gauges.iter().enumerate() {
            let kind = ConstGauge::new(0i64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            for plugin in &self.plugins {
                if let Some(value) = plugin.gauges[index].2 {
                    ConstGauge::new(value).encode(family.encode_family(&plugin.labels())?)?;
                }
            }
        }
        log_lines(&mut encoder, &self.plugins)
    }
}

fn log_lines(
    encoder: &mut DescriptorEncoder<'_>,
    plugins: &[PluginMetrics],
) -> Result<(), std::fmt::Error> {
    let help = "Lines that the plugin logged; those that were too many are suppressed";
    let kind = ConstCounter::new(0u64).metric_type();
    let mut family = encoder.encode_descriptor("plugin_log_lines", help, None::<&Unit>, kind)?;
    for PluginMetrics { name, log_lines, .. } in plugins {
        let outcomes = [("written", log_lines.written), ("suppressed", log_lines.suppressed)];
        for (outcome, count) in outcomes {
            let labels = [("plugin", name.as_str()), ("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None::<&Unit>, gauge.metric_type())?)
}

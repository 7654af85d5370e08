//! The metrics, in Prometheus' text format.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::status::Status;
use crate::daemon::PluginStatus;
use crate::delay::StoreStats;
use crate::event::Datetime;
use crate::health::Code;
use crate::mo::stats::Counts;
use crate::plugins::LogLines;
use crate::router::State;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The status as metrics.
pub fn render(status: &Status, store: Option<&StoreStats>) -> String {
    let mut registry = Registry::with_prefix("mo_router");
    registry.register_collector(Box::new(StatusMetrics {
        ready: status.ready,
        reasons: status.reasons.iter().map(|reason| reason.code).collect(),
        delayed: status.delayed,
        next_due: status.next_due,
        dead_letters: status.dead_letters,
        mo: status.mo.clone(),
        plugins: status.plugins.iter().map(PluginMetrics::of).collect(),
    }));
    if let Some(stats) = store {
        register(&mut registry, stats);
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// What the store is measured by. Clones of a histogram share its numbers.
fn register(registry: &mut Registry, stats: &StoreStats) {
    let help = "How long after their time delayed messages were confirmed";
    registry.register("delayed_lateness_seconds", help, stats.lateness.clone());
    let help = "How long it took to commit delayed messages";
    registry.register("store_commit_duration_seconds", help, stats.commits.clone());
    let errors = ConstCounter::new(stats.errors.load(Relaxed));
    registry.register("store_errors", "Operations on the delay store that failed", errors);
    if let Some(overdue) = stats.overdue() {
        let overdue = ConstGauge::new(i64::try_from(overdue).unwrap_or(i64::MAX));
        let help = "Delayed messages that should have been sent 10 s ago or earlier";
        registry.register("delayed_overdue_messages", help, overdue);
    }
}

#[derive(Debug)]
struct StatusMetrics {
    ready: bool,
    reasons: Vec<Code>,
    delayed: Option<u64>,
    next_due: Option<Datetime>,
    dead_letters: Option<u32>,
    mo: Option<Counts>,
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
        for code in Code::ALL {
            let value = ConstGauge::new(i64::from(self.reasons.contains(&code)));
            value.encode(family.encode_family(&[("reason", code.as_str())])?)?;
        }
        let is_blocked = self.reasons.contains(&Code::BrokerBlocked);
        let help = "Whether the broker takes no messages, being short of memory or disk space";
        gauge(&mut encoder, "broker_blocked", help, i64::from(is_blocked))?;
        if let Some(delayed) = self.delayed {
            let help = "Messages in the delay store, whether due or not";
            gauge(&mut encoder, "delayed_messages", help, delayed as i64)?;
        }
        if let Some(next) = self.next_due {
            let help = "When the first message in the delay store is or was due";
            gauge(&mut encoder, "delayed_next_due_timestamp_seconds", help, next.seconds())?;
        }
        let is_up = !self.reasons.contains(&Code::StoreUnavailable);
        gauge(&mut encoder, "store_up", "Whether the delay store works", i64::from(is_up))?;
        if let Some(dead_letters) = self.dead_letters {
            let help = "Dead letters in mo-router.dead, including those of delayed messages";
            gauge(&mut encoder, "dead_letter_backlog", help, dead_letters.into())?;
        }
        if let Some(mo) = &self.mo {
            bridge(&mut encoder, mo)?;
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

/// The bridge to MO's GraphQL events.
fn bridge(encoder: &mut DescriptorEncoder<'_>, mo: &Counts) -> Result<(), std::fmt::Error> {
    let kind = ConstCounter::new(0u64).metric_type();
    let help = "Requests to MO and to Keycloak";
    let mut family = encoder.encode_descriptor("mo_requests", help, None::<&Unit>, kind)?;
    for ((operation, outcome), count) in &mo.requests {
        let labels = [("operation", *operation), ("outcome", *outcome)];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    let help = "Events of MO that were published and acknowledged";
    let mut family = encoder.encode_descriptor("mo_events", help, None::<&Unit>, kind)?;
    for (routing_key, count) in &mo.events {
        let labels = [("routing_key", routing_key.as_str())];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    if let Some(expires) = mo.token_expires {
        let help = "When the access token for MO expires";
        gauge(encoder, "mo_token_expiry_timestamp_seconds", help, expires.seconds())?;
    }
    Ok(())
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

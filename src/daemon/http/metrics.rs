//! The metrics: their names, what they mean, and where they come from. The names are fixed.

mod format;
mod plugins;
mod process;

use std::fmt::{Error, Result};
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::{Registry, Unit};

use super::status::Status;
use crate::amqp::ConnectionStatus;
use crate::daemon::Gathered;
use crate::delay::StoreStats;
use crate::escape::escaped;
use crate::event::Datetime;
use crate::health::Code;
use crate::measure::Distribution;
use crate::mo::stats::Counts;
use crate::telemetry::SpanCounts;

pub use format::Format;

/// What is told beside the status, none of which has to be asked for.
#[derive(Debug)]
pub struct Observations {
    /// The status.
    pub status: Status,
    /// When delayed messages were last counted.
    pub counted: Option<Datetime>,
    /// What the broker last said of its queues.
    pub gathered: Gathered,
    /// How long the broker takes to confirm.
    pub confirms: Option<Distribution>,
    /// The connections to the broker.
    pub connections: Vec<ConnectionStatus>,
    /// When the settings were last read again, and how that went.
    pub reloads: (bool, Datetime),
    /// What became of spans; none if there are no traces.
    pub spans: Option<SpanCounts>,
}

/// All of it as text, with what the delay store is measured by.
pub fn render(
    mut observations: Observations,
    store: Option<&StoreStats>,
    format: Format,
) -> String {
    let since = observations.status.since;
    // A file that is refused for its name has it all the same; and terminals show metrics too.
    for plugin in &mut observations.status.plugins {
        plugin.name = escaped(&plugin.name).into_owned();
    }
    let mut own = Registry::with_prefix("mo_router");
    own.register_collector(Box::new(observations));
    if let Some(stats) = store {
        register(&mut own, stats);
    }
    let mut process = Registry::default();
    process.register_collector(Box::new(process::Process::read(since)));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode_registry(&mut text, &own);
    let _ = prometheus_client::encoding::text::encode_registry(&mut text, &process);
    let _ = prometheus_client::encoding::text::encode_eof(&mut text);
    format.write(text)
}

/// What the store is measured by. Clones of a histogram share its numbers.
fn register(registry: &mut Registry, stats: &StoreStats) {
    let help = "How long after their time delayed messages were confirmed";
    registry.register("delayed_lateness_seconds", help, stats.lateness.clone());
    let help = "How long it took to commit delayed messages";
    registry.register("store_commit_duration_seconds", help, stats.commits.clone());
    let errors = ConstCounter::new(stats.errors.load(Relaxed));
    registry.register("store_errors", "Operations on the delay store that failed", errors);
}

impl Collector for Observations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result {
        let mut out = Out(&mut encoder);
        self.router(&mut out)?;
        self.delays(&mut out)?;
        self.broker(&mut out)?;
        if let Some(mo) = &self.status.mo {
            bridge(mo, &mut out)?;
        }
        plugins::encode(&self.status.plugins, &self.gathered, &mut out)
    }
}

impl Observations {
    fn router(&self, out: &mut Out<'_, '_>) -> Result {
        let status = &self.status;
        let build = [
            ("version", status.version),
            ("revision", option_env!("BUILD_REVISION").unwrap_or("unknown")),
            ("rustc", env!("BUILD_RUSTC")),
        ];
        out.gauge("build_info", "What the router was built from", [(build, 1.0)])?;
        let help = "Whether every plugin takes events or is suspended, and nothing stops the flow";
        out.gauge("ready", help, [([], flag(status.ready))])?;
        let reasons = Code::ALL.into_iter().map(|code| {
            let is_one = status.reasons.iter().any(|reason| reason.code == code);
            ([("reason", code.as_str())], flag(is_one))
        });
        let help =
            "Whether readiness gives this reason; with some the router is ready all the same";
        out.gauge("not_ready_reason", help, reasons)?;
        let (successful, at) = self.reloads;
        let help = "Whether the settings were right when they were last read";
        out.gauge("settings_last_reload_successful", help, [([], flag(successful))])?;
        let help = "When the settings were last read";
        let at = [([], at.seconds() as f64)];
        out.gauge("settings_last_reload_timestamp_seconds", help, at)?;
        let spans = self.spans.map(|SpanCounts { sent, lost }| [("sent", sent), ("lost", lost)]);
        let spans = spans.into_iter().flatten();
        let spans = spans.map(|(outcome, count)| ([("outcome", outcome)], count));
        out.counter("trace_spans", "Spans of traces, and what became of them", spans)
    }

    fn delays(&self, out: &mut Out<'_, '_>) -> Result {
        let status = &self.status;
        let delayed = status.delayed.map(|delayed| ([], delayed as f64));
        out.gauge("delayed_messages", "Messages in the delay store, whether due or not", delayed)?;
        let overdue = status.overdue.map(|overdue| ([], overdue as f64));
        let help =
            "Delayed messages that should have been sent 10 s ago or earlier, or were put off";
        out.gauge("delayed_overdue_messages", help, overdue)?;
        let next = status.next_due.map(|due| ([], due.seconds() as f64));
        let help = "When the next delayed message is due";
        out.gauge("delayed_next_due_timestamp_seconds", help, next)?;
        let counted = self.counted.map(|at| ([], at.seconds() as f64));
        let help = "When the messages in the delay store were last counted";
        out.gauge("delayed_counted_timestamp_seconds", help, counted)?;
        let store_up = !status.reasons.iter().any(|reason| reason.code == Code::StoreUnavailable);
        let help = "Whether delayed messages can be stored and sent";
        out.gauge("store_up", help, [([], flag(store_up))])
    }

    fn broker(&self, out: &mut Out<'_, '_>) -> Result {
        if self.connections.is_empty() {
            return Ok(());
        }
        let each = |value: fn(&ConnectionStatus) -> f64| {
            self.connections
                .iter()
                .map(move |status| ([("connection", status.name)], value(status)))
        };
        let help = "Whether the router is connected to the broker";
        out.gauge("broker_connected", help, each(|status| flag(status.connected)))?;
        let help = "Whether the broker takes no messages, being short of memory or disk space";
        out.gauge("broker_blocked", help, each(|status| flag(status.blocked)))?;
        let help = "Connections that were lost";
        let reconnects = self.connections.iter();
        let reconnects =
            reconnects.map(|status| ([("connection", status.name)], status.reconnects));
        out.counter("broker_reconnects", help, reconnects)?;
        let help = "How long the broker took to confirm a publication";
        let confirms = self.confirms.clone().map(|confirms| ([], confirms));
        out.histogram("publish_confirm_duration_seconds", help, confirms)?;
        let letters = self.gathered.dead_letters.map(|letters| ([], f64::from(letters)));
        let help = "Dead letters in mo-router.dead, whoever put them there";
        out.gauge("dead_letter_queue_messages", help, letters)?;
        let at = self.gathered.at.map(|at| ([], at.seconds() as f64));
        let help = "When the broker was last asked how much is in its queues";
        out.gauge("queues_asked_timestamp_seconds", help, at)
    }
}

/// The bridge to MO's GraphQL events.
fn bridge(mo: &Counts, out: &mut Out<'_, '_>) -> Result {
    let requests = mo.requests.iter().map(|((operation, outcome), count)| {
        ([("operation", *operation), ("outcome", *outcome)], *count)
    });
    out.counter("mo_requests", "Requests to MO and to Keycloak", requests)?;
    let events = mo.events.iter().map(|(key, count)| ([("routing_key", key.as_str())], *count));
    out.counter("mo_events", "Events of MO that were published and acknowledged", events)?;
    let expires = mo.token_expires.map(|expires| ([], expires.seconds() as f64));
    let help = "When the access token for MO expires; in the past, it cannot be renewed";
    out.gauge("mo_token_expiry_timestamp_seconds", help, expires)
}

/// 1 for yes.
fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// Where metrics are written to: each family whole.
struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn gauge<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> Result {
        self.family(name, help, MetricType::Gauge, samples, |encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    /// The name is without `_total`.
    fn counter<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> Result {
        self.family(name, help, MetricType::Counter, samples, |encoder, value| {
            encoder.encode_counter::<[(&str, &str); 0], _, f64>(&value, None)
        })
    }

    fn histogram<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, Distribution)>,
    ) -> Result {
        self.family(name, help, MetricType::Histogram, samples, |encoder, value| {
            let Distribution { buckets, sum, count } = value;
            encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
        })
    }

    fn family<L: Labels, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (L, V)>,
        write: impl Fn(&mut MetricEncoder<'_>, V) -> std::result::Result<(), Error>,
    ) -> Result {
        // A family is described only where there is something to tell.
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None::<&Unit>, kind)?;
        for (labels, value) in samples {
            match labels.is_none() {
                true => write(&mut family, value)?,
                false => write(&mut family.encode_family(&labels)?, value)?,
            }
        }
        Ok(())
    }
}

/// The labels of a sample.
trait Labels: EncodeLabelSet {
    fn is_none(&self) -> bool;
}

impl<const N: usize> Labels for [(&'static str, &str); N] {
    fn is_none(&self) -> bool {
        N == 0
    }
}

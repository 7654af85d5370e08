//! The metrics of each plugin. Its version is a label of one of them alone, so that no counter
//! begins anew when the plugin is replaced.

use std::fmt::Result;

use super::{Out, flag};
use crate::daemon::Gathered;
use crate::daemon::PluginStatus;
use crate::measure::{Distribution, Durations};
use crate::router::{Measures, State};

const STATES: [(&str, State); 4] = [
    ("running", State::Running),
    ("waiting", State::Waiting),
    ("suspended", State::Suspended),
    ("removed", State::Removed),
];

/// Writes them, family by family.
pub(super) fn encode(
    plugins: &[PluginStatus],
    gathered: &Gathered,
    out: &mut Out<'_, '_>,
) -> Result {
    let info = plugins.iter().filter_map(|plugin| {
        let version = plugin.version.as_deref()?;
        Some(([("plugin", plugin.name.as_str()), ("version", version)], 1.0))
    });
    out.gauge("plugin_info", "The version of the plugin that runs", info)?;
    let states = plugins.iter().flat_map(|plugin| {
        let refused = plugin.is_refused();
        let states = STATES
            .into_iter()
            .map(move |(name, state)| (name, !refused && plugin.stats.state == state));
        states.chain([("refused", refused)]).map(|(state, is_it)| {
            ([("plugin", plugin.name.as_str()), ("state", state)], flag(is_it))
        })
    });
    out.gauge("plugin_state", "What the plugin does", states)?;
    let gauge = |value: fn(&PluginStatus) -> f64| {
        plugins.iter().map(move |plugin| ([("plugin", plugin.name.as_str())], value(plugin)))
    };
    let help = "Whether the file in the folder is not what runs";
    out.gauge("plugin_stale", help, gauge(|plugin| flag(plugin.stale.is_some())))?;
    let help = "Deliveries that are not settled";
    out.gauge("events_in_flight", help, gauge(|plugin| plugin.stats.in_flight as f64))?;
    let help = "Bytes of what is not settled, and of what that caused";
    out.gauge("bytes_in_flight", help, gauge(|plugin| plugin.stats.bytes_in_flight as f64))?;
    let memory = plugins
        .iter()
        .filter_map(|plugin| Some(([("plugin", plugin.name.as_str())], plugin.memory? as f64)));
    let help = "Memory and tables of the plugin's instances";
    out.gauge("plugin_memory_bytes", help, memory)?;
    loads(plugins, out)?;
    let lines = plugins.iter().flat_map(|plugin| {
        let lines = plugin.log_lines;
        [("written", lines.written), ("suppressed", lines.suppressed)].map(|(outcome, count)| {
            ([("plugin", plugin.name.as_str()), ("outcome", outcome)], count)
        })
    });
    let help = "Lines that the plugin logged; those that were too many are suppressed";
    out.counter("plugin_log_lines", help, lines)?;
    events(plugins, out)?;
    queues(gathered, out)
}

fn loads(plugins: &[PluginStatus], out: &mut Out<'_, '_>) -> Result {
    let loads = counts(plugins, "outcome", |measures| measures.loads.read().collect());
    out.counter("plugin_reloads", "Files of the plugin that were loaded or refused", loads)?;
    let took = plugins.iter().flat_map(|plugin| {
        let measures = plugin.counted.measures();
        let both = [("compiled", &measures.compiled), ("cached", &measures.cached)];
        both.map(|(outcome, took)| {
            ([("plugin", plugin.name.as_str()), ("outcome", outcome)], took.read())
        })
    });
    let help = "How long it took to compile the plugin's file, or to find it in the cache";
    out.histogram("plugin_compile_duration_seconds", help, took)
}

fn events(plugins: &[PluginStatus], out: &mut Out<'_, '_>) -> Result {
    let received = plugins.iter();
    let received =
        received.map(|plugin| ([("plugin", plugin.name.as_str())], plugin.stats.received));
    out.counter("events_received", "Events that the plugin's queue delivered", received)?;
    let help = "Events that are done, by how they ended";
    let settled = counts(plugins, "outcome", |measures| measures.settled.read().collect());
    out.counter("events_settled", help, settled)?;
    let help = "Events that are given to the plugin again";
    let retries = counts(plugins, "cause", |measures| measures.retries.read().collect());
    out.counter("event_retries", help, retries)?;
    let help = "Publications, by what the broker said to them";
    let sent = counts(plugins, "outcome", |measures| measures.publications.read().collect());
    out.counter("publications", help, sent)?;
    let dead = counts(plugins, "cause", |measures| measures.dead.read().collect());
    out.counter("dead_letters", "Dead letters that the router wrote", dead)?;
    let help = "How long the plugin took to answer";
    out.histogram("plugin_call_duration_seconds", help, durations(plugins, |all| &all.calls))?;
    let help = "From the delivery of an event to its settlement";
    out.histogram("event_duration_seconds", help, durations(plugins, |all| &all.events))
}

type Labelled<'a, V> = ([(&'static str, &'a str); 2], V);

/// A count for each plugin and value of a label.
fn counts<'a>(
    plugins: &'a [PluginStatus],
    label: &'static str,
    of: fn(&Measures) -> Vec<(&'static str, u64)>,
) -> impl Iterator<Item = Labelled<'a, u64>> {
    plugins.iter().flat_map(move |plugin| {
        let counts = of(plugin.counted.measures()).into_iter();
        counts
            .map(move |(value, count)| ([("plugin", plugin.name.as_str()), (label, value)], count))
    })
}

fn durations(
    plugins: &[PluginStatus],
    of: fn(&Measures) -> &Durations,
) -> impl Iterator<Item = ([(&'static str, &str); 1], Distribution)> {
    plugins.iter().map(move |plugin| {
        ([("plugin", plugin.name.as_str())], of(plugin.counted.measures()).read())
    })
}

fn queues(gathered: &Gathered, out: &mut Out<'_, '_>) -> Result {
    let queue = |value: fn((u32, u32)) -> u32| {
        let queues = gathered.queues.iter();
        queues.map(move |(plugin, depth)| ([("plugin", plugin.as_str())], f64::from(value(*depth))))
    };
    let help = "Events that wait in the plugin's queue, as far as the broker has said";
    out.gauge("queue_messages", help, queue(|(messages, _)| messages))?;
    let help = "Consumers of the plugin's queue, of all routers";
    out.gauge("queue_consumers", help, queue(|(_, consumers)| consumers))
}

//! A running plugin: events in, publications out.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Result, anyhow};
use wasmtime::{Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::{self as wit, Guest as Exports};
use super::guest::{Guest, OutOfTime, start_clock, store};
use super::load::Plugin;
use crate::event::{Datetime, Due, Event, Failure, Publication, Value};
use crate::settings::{InstanceMode, Limits};

/// The most of a plugin's reason that is kept, in bytes.
const REASON: usize = 4096;

/// One lane of a plugin: routes one event at a time.
///
/// Whatever an event does to the guest, the next one finds it in order: after a
/// trap, a broken limit or a call that was dropped half-way, and with
/// `instance = "fresh"` after each event, the guest is thrown away and the next
/// event starts a new one.
pub struct Instance {
    plugin: Arc<Plugin>,
    live: Option<Live>,
}

/// A guest that has not broken.
pub(super) struct Live {
    store: Store<Guest>,
    exports: Exports,
    limits: Limits,
}

impl Instance {
    pub(super) async fn start(plugin: Arc<Plugin>) -> Result<Self> {
        let live = Some(Live::start(&plugin).await?);
        Ok(Self { plugin, live })
    }

    pub(super) fn idle(plugin: Arc<Plugin>) -> Self {
        Self { plugin, live: None }
    }

    /// The plugin that this is an instance of.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// What to do with an event; `attempt` is 1 at first.
    ///
    /// # Errors
    /// The plugin's own [`Failure::Retry`] or [`Failure::Reject`]; or
    /// [`Failure::Broken`] if it trapped or exceeded a limit, which it names.
    pub async fn route(
        &mut self,
        event: &Event,
        attempt: u32,
    ) -> Result<Vec<Publication>, Failure> {
        // Taken, not borrowed: it only comes back if it is as good as before.
        let mut live = match self.live.take() {
            Some(live) => live,
            None => Live::start(&self.plugin)
                .await
                .map_err(|error| Failure::Broken(format!("{error:#}")))?,
        };
        let answer = live.route(event, attempt).await;
        let broken = matches!(answer, Err(Failure::Broken(_)));
        if !broken && self.plugin.mode == InstanceMode::Kept {
            self.live = Some(live);
        }
        answer
    }
}

impl Live {
    /// Starts a guest.
    pub(super) async fn start(plugin: &Plugin) -> Result<Self> {
        let limits = plugin.surroundings.limits.clone();
        let mut store = store(plugin.guest.engine(), &plugin.surroundings);
        start_clock(&mut store);
        let started = within(limits.timeout, plugin.guest.instantiate_async(&mut store)).await;
        let exports = outcome(started, &store, &limits)
            .map_err(|reason| anyhow!("the plugin does not start: {reason}"))?;
        Ok(Self { store, exports, limits })
    }

    /// Asks for the topic patterns that the plugin wants.
    pub(super) async fn subscriptions(mut self) -> Result<Vec<String>> {
        start_clock(&mut self.store);
        let asked = self.exports.os2mo_router_filter().call_subscriptions(&mut self.store);
        let asked = within(self.limits.timeout, asked).await;
        outcome(asked, &self.store, &self.limits)
            .map_err(|reason| anyhow!("the plugin does not say its subscriptions: {reason}"))
    }

    async fn route(&mut self, event: &Event, attempt: u32) -> Result<Vec<Publication>, Failure> {
        let uuid = &mut [0; 36];
        let uuid = event.uuid.hyphenated().encode_lower(uuid);
        let object_uuid = &mut [0; 36];
        let object_uuid = event.object_uuid.map(|id| &*id.hyphenated().encode_lower(object_uuid));
        let texts = headers(event);
        let headers: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (*name, text.as_ref())).collect();
        let (message, topic) = (&event.message, event.topic());
        let event = wit::Event {
            exchange: &message.exchange,
            routing_key: &message.routing_key,
            topic: wit::Topic {
                service: topic.service,
                object_type: topic.object_type,
                action: topic.action,
            },
            uuid,
            object_uuid,
            time: event.time.map(Into::into),
            body: &message.body,
            content_type: message.properties.content_type.as_deref(),
            headers: &headers,
            redelivered: message.redelivered,
            attempt,
        };
        start_clock(&mut self.store);
        let called = self.exports.os2mo_router_filter().call_route(&mut self.store, event);
        let called = within(self.limits.timeout, called).await;
        let answer = outcome(called, &self.store, &self.limits).map_err(Failure::Broken)?;
        let publications = answer.map_err(Failure::from)?;
        check_output(&publications, &self.limits).map_err(Failure::Broken)?;
        publications.into_iter().map(publication).collect()
    }
}

/// The headers that can be read as text.
fn headers(event: &Event) -> Vec<(&str, Cow<'_, str>)> {
    let headers = event.message.properties.headers.iter();
    headers.filter_map(|(name, value)| Some((name.as_str(), text(value)?))).collect()
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text.as_str())),
        value => value.as_text().map(Cow::Owned),
    }
}

/// Waits for a call, but not longer than it may take. A guest that runs is
/// interrupted anyhow; this is for one that waits for the host.
async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, OutOfTime> {
    let mut call = pin!(call);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        // Most calls are over before they wait for anything, and need no timer.
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(OutOfTime))
    })
    .await
}

/// What became of a call: its result, or what broke, in words.
fn outcome<T>(
    called: Result<wasmtime::Result<T>, OutOfTime>,
    store: &Store<Guest>,
    limits: &Limits,
) -> Result<T, String> {
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(reason(&error, store, limits)),
        Err(OutOfTime) => Err(out_of_time(limits)),
    }
}

/// Why a call broke: the limit that it exceeded, or how it trapped.
fn reason(error: &wasmtime::Error, store: &Store<Guest>, limits: &Limits) -> String {
    if error.is::<OutOfTime>() {
        return out_of_time(limits);
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return format!("the plugin called exit({status})");
    }
    let root = error.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls") {
        return format!(
            "handed over more than {} bytes or {} publications ([limits] max_output, max_publications)",
            limits.max_output, limits.max_publications
        );
    }
    let mut reason = match error.downcast_ref() {
        Some(Trap::StackOverflow) => "recursed deeper than its stack of 1 MiB".to_owned(),
        Some(trap) => trapped(*trap, error),
        None if root.starts_with("realloc") => format!("gave no room for the event: {root}"),
        None => format!("answered what cannot be read: {root}"),
    };
    let guest = store.data();
    if guest.usage.refused {
        let memory = bytesize::ByteSize(limits.memory);
        reason += &format!(", after it was refused more than {memory} ([limits] memory)");
    }
    if let Some(words) = guest.console.last_words() {
        reason += &format!("; its last words: {words}");
    }
    reason
}

/// A trap, and where it happened if the file has the names of its functions.
fn trapped(trap: Trap, error: &wasmtime::Error) -> String {
    let trap = trap.to_string();
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    match frames.and_then(|frames| frames.first()?.func_name()) {
        Some(function) => format!("trapped in {function}: {trap}"),
        None => format!("trapped: {trap}"),
    }
}

fn out_of_time(limits: &Limits) -> String {
    format!("took longer than {} ([limits] timeout)", humantime::format_duration(limits.timeout))
}

fn check_output(publications: &[wit::Publication], limits: &Limits) -> Result<(), String> {
    if publications.len() > limits.max_publications {
        return Err(format!(
            "answered {} publications, where {} are the most ([limits] max_publications)",
            publications.len(),
            limits.max_publications
        ));
    }
    let bytes: usize = publications.iter().map(size).sum();
    if bytes as u64 > limits.max_output {
        return Err(format!(
            "answered {} of publications, where {} are the most ([limits] max_output)",
            bytesize::ByteSize(bytes as u64),
            bytesize::ByteSize(limits.max_output)
        ));
    }
    Ok(())
}

/// The bytes of one publication.
fn size(publication: &wit::Publication) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let headers = publication.headers.iter().map(|(name, value)| name.len() + value.len());
    publication.body.as_ref().map_or(0, Vec::len)
        + text(&publication.exchange)
        + text(&publication.routing_key)
        + text(&publication.key)
        + headers.sum::<usize>()
}

fn publication(publication: wit::Publication) -> Result<Publication, Failure> {
    Ok(Publication {
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        body: publication.body,
        headers: publication.headers,
        due: due(publication.due)?,
        key: publication.key,
    })
}

fn due(due: wit::Due) -> Result<Due, Failure> {
    match due {
        wit::Due::Now => Ok(Due::Now),
        wit::Due::After(milliseconds) => Ok(Due::After(Duration::from_millis(milliseconds))),
        wit::Due::At(wit::Datetime { seconds, nanoseconds }) => {
            match Datetime::from_unix(seconds, nanoseconds) {
                Some(time) => Ok(Due::At(time)),
                None => Err(Failure::Broken(format!(
                    "answered a publication that is due at no time: {seconds} seconds and \
                     {nanoseconds} nanoseconds"
                ))),
            }
        }
    }
}

impl From<Datetime> for wit::Datetime {
    fn from(time: Datetime) -> Self {
        Self { seconds: time.seconds(), nanoseconds: time.nanoseconds() }
    }
}

/// Cuts a plugin's reason where it no longer fits: it travels in a header, and all
/// headers of a message share one AMQP frame.
fn shortened(mut reason: String) -> String {
    if reason.len() > REASON {
        reason.truncate(reason.floor_char_boundary(REASON));
        reason.push('…');
    }
    reason
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        match failure {
            wit::Failure::Retry(reason) => Failure::Retry(shortened(reason)),
            wit::Failure::Reject(reason) => Failure::Reject(shortened(reason)),
        }
    }
}

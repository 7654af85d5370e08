//! Calls into a guest, each within the plugin's time limit.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Result, anyhow};
use wasmtime::Store;

use super::bindings::{self as wit, Guest, GuestPre};
use super::convert;
use super::failure::result;
use super::guest::{GuestSetup, GuestState, OutOfTime, new_store, start_clock};
use super::ticker::Activity;
use crate::event::{Event, Failure, Fault, Publication};
use crate::settings::Limits;

/// A guest that has started and can be called.
pub(super) struct RunningGuest {
    store: Store<GuestState>,
    exports: Guest,
    limits: Limits,
    activity: Activity,
}

impl RunningGuest {
    /// Starts a guest.
    ///
    /// # Errors
    /// It trapped or exceeded a limit.
    pub(super) async fn start(guest: &GuestPre<GuestState>, setup: &GuestSetup) -> Result<Self> {
        let limits = setup.limits.clone();
        let activity = setup.ticker.guest();
        let running = activity.run();
        let mut store = new_store(guest.engine(), setup);
        start_clock(&mut store);
        let started = within(limits.timeout, guest.instantiate_async(&mut store)).await;
        let exports = result(started, &store, &limits)
            .map_err(|reason| anyhow!("the plugin does not start: {reason}"))?;
        drop(running);
        Ok(Self { store, exports, limits, activity })
    }

    /// Asks for the topic patterns that the plugin subscribes to.
    ///
    /// # Errors
    /// It trapped or exceeded a limit.
    pub(super) async fn subscriptions(mut self) -> Result<Vec<String>> {
        let _running = self.activity.run();
        start_clock(&mut self.store);
        let call = self.exports.os2mo_router_filter().call_subscriptions(&mut self.store);
        let called = within(self.limits.timeout, call).await;
        result(called, &self.store, &self.limits)
            .map_err(|reason| anyhow!("the plugin does not return its subscriptions: {reason}"))
    }

    /// Asks what to do with an event.
    ///
    /// # Errors
    /// See [`Instance::route`](super::Instance::route).
    pub(super) async fn route(
        &mut self,
        event: &Event,
        attempt: u32,
    ) -> Result<Vec<Publication>, Failure> {
        let uuid = &mut [0; 36];
        let uuid = event.uuid.hyphenated().encode_lower(uuid);
        let object_uuid = &mut [0; 36];
        let object_uuid = event.object_uuid.map(|id| &*id.hyphenated().encode_lower(object_uuid));
        let texts = convert::headers(event);
        let headers: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (*name, text.as_ref())).collect();
        let (message, topic) = (&event.message, event.topic());
        let routed = event;
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
            redelivered: message.deliveries > 0,
            attempt,
        };
        let running = self.activity.run();
        start_clock(&mut self.store);
        self.store.data().voice.begin(routed, attempt);
        let call = self.exports.os2mo_router_filter().call_route(&mut self.store, event);
        let called = within(self.limits.timeout, call).await;
        drop(running);
        self.store.data().voice.end();
        let answer = result(called, &self.store, &self.limits).map_err(Failure::from)?;
        let publications = answer.map_err(Failure::from)?;
        convert::check_output(&publications, &self.limits)
            .map_err(|reason| Failure::Broken(reason, Fault::Trap))?;
        publications.into_iter().map(convert::publication).collect()
    }
}

/// Waits for a call until its time is up. The engine interrupts a guest that computes;
/// this is for one that waits for the host.
async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, OutOfTime> {
    let mut call = pin!(call);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        // Most calls finish without waiting for anything and need no timer.
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(OutOfTime))
    })
    .await
}

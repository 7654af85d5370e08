//! Calls into a guest, each within the plugin's time limit.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use wasmtime::Store;

use super::bindings::Exports;
use super::failure::{Broken, result};
use super::guest::{GuestSetup, GuestState, OutOfTime};
use super::homes::Homes;
use super::output::check_output;
use super::runtime::Home;
use super::store::{new_store, start_clock};
use super::ticker::Activity;
use crate::event::{Event, Failure, Fault, Publication};
use crate::settings::Limits;

/// A guest that has started and can be called.
pub(super) struct RunningGuest {
    store: Store<GuestState>,
    exports: Exports,
    limits: Limits,
    activity: Activity,
}

impl RunningGuest {
    /// Starts a guest, in the best of its homes that has room for it.
    ///
    /// # Errors
    /// It trapped or exceeded a limit.
    pub(super) async fn start(homes: &Homes, setup: &GuestSetup) -> Result<Self, Broken> {
        let started = Self::start_in(&homes.best, setup).await;
        if !started.as_ref().is_err_and(Broken::is_crowded) {
            return started;
        }
        match homes.spare(setup.limits.timeout).await {
            Some(spare) => Self::start_in(&spare, setup).await,
            None => started,
        }
    }

    async fn start_in(home: &Home, setup: &GuestSetup) -> Result<Self, Broken> {
        let (guest, limits) = (&home.guest, setup.limits.clone());
        let activity = home.ticker.guest();
        let running = activity.run();
        let mut store = new_store(guest.engine(), setup);
        start_clock(&mut store);
        let started = within(limits.timeout, guest.instantiate(&mut store)).await;
        let exports = result(started, &store, &limits)
            .map_err(|broken| broken.prefixed("the plugin does not start"))?;
        drop(running);
        Ok(Self { store, exports, limits, activity })
    }

    /// Asks for the topic patterns that the plugin subscribes to.
    ///
    /// # Errors
    /// It trapped or exceeded a limit.
    pub(super) async fn subscriptions(mut self) -> Result<Vec<String>, Broken> {
        let _running = self.activity.run();
        start_clock(&mut self.store);
        let call = self.exports.subscriptions(&mut self.store);
        let called = within(self.limits.timeout, call).await;
        result(called, &self.store, &self.limits)
            .map_err(|broken| broken.prefixed("the plugin does not return its subscriptions"))
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
        let running = self.activity.run();
        start_clock(&mut self.store);
        self.store.data().voice.begin(event, attempt);
        let call = self.exports.route(&mut self.store, event, attempt);
        let called = within(self.limits.timeout, call).await;
        drop(running);
        self.store.data().voice.end();
        let answer = result(called, &self.store, &self.limits).map_err(Failure::from)?;
        let publications = answer?;
        check_output(&publications, &self.limits)
            .map_err(|reason| Failure::Broken(reason, Fault::Trap))?;
        Ok(publications)
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

//! The clocks that a guest imports: WASI's, but that a guest may sleep on a virtual clock.

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::HostMonotonicClock;
use wasmtime_wasi::clocks::{WasiClocksCtxView, WasiClocksView};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, subscribe};

use super::guest::GuestState;
use super::time::{GuestTime, Sleep, Within};

/// `wasi:clocks/monotonic-clock`, as a guest has it.
pub(super) struct MonotonicClock;

impl HasData for MonotonicClock {
    type Data<'a> = View<'a>;
}

/// A guest's monotonic clock.
pub(super) struct View<'a> {
    wasi: WasiClocksCtxView<'a>,
    /// If the clock is a virtual one.
    time: Option<(GuestTime, Within)>,
}

pub(super) fn view(guest: &mut GuestState) -> View<'_> {
    let time = guest.time.within.clone().map(|within| (guest.time.clone(), within));
    View { wasi: guest.clocks(), time }
}

type Polled = wasmtime::Result<Resource<DynPollable>>;

impl monotonic_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::now(&mut self.wasi)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::resolution(&mut self.wasi)
    }

    fn subscribe_instant(&mut self, when: u64) -> Polled {
        match self.time.take() {
            None => self.wasi.subscribe_instant(when),
            Some((time, within)) => sleep(self.wasi.table, Sleep { time, within, until: when }),
        }
    }

    fn subscribe_duration(&mut self, duration: u64) -> Polled {
        match self.time.take() {
            None => self.wasi.subscribe_duration(duration),
            Some((time, within)) => {
                let until = HostMonotonicClock::now(&time).saturating_add(duration);
                sleep(self.wasi.table, Sleep { time, within, until })
            }
        }
    }
}

fn sleep(table: &mut ResourceTable, sleep: Sleep) -> Polled {
    let sleep = table.push(sleep)?;
    subscribe(table, sleep)
}

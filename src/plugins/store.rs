//! The `Store` of a guest: what wasmtime may do for it.

use wasmtime::{Engine, Store};

use super::bindings;
use super::guest::{GuestSetup, GuestState, MOST_RESOURCES};
use crate::settings::Limits;

/// Makes the `Store` of a new guest, with its limits.
pub(super) fn new_store(engine: &Engine, setup: &GuestSetup) -> Store<GuestState> {
    let mut store = Store::new(engine, GuestState::new(setup));
    store.limiter(|guest| &mut guest.memory);
    store.set_max_component_handles(MOST_RESOURCES);
    store.set_hostcall_fuel(max_copied_bytes(&setup.limits));
    store.epoch_deadline_callback(|mut store| store.data_mut().tick());
    store
}

/// Starts the time limit of a call.
pub(super) fn start_clock(store: &mut Store<GuestState>) {
    store.data_mut().begin_call();
    store.set_epoch_deadline(1);
}

/// How many bytes wasmtime may copy out of a guest at once. It counts the records
/// too, so this admits everything within the limits, and stops a guest that returns
/// the same bytes a million times from filling the router's memory.
pub(super) fn max_copied_bytes(limits: &Limits) -> usize {
    const RECORD: usize = bindings::PUBLICATION;
    const SPARE: usize = 1 << 20;
    let bytes = usize::try_from(limits.max_output).unwrap_or(usize::MAX);
    bytes
        .saturating_mul(2)
        .saturating_add(limits.max_publications.saturating_mul(RECORD))
        .saturating_add(SPARE)
}

//! The versions of the plugin interface that this router has.
//!
//! Inside the router there is one event and one publication. Each version is a thin layer between
//! them and the types of its WIT: `v1_0.rs` and `v1_1.rs`, with what they have in common in
//! `common.rs`. An event is passed as a view of the router's bytes; an answer is returned as owned
//! values.

#[macro_use]
mod common;
#[cfg(test)]
mod tests;
mod v1_0;
mod v1_1;

use semver::Version;
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Result, Store};

use super::guest::GuestState;
use crate::event::{Event, Failure, Publication};

/// The bytes of the larger one of the versions' publications, as wasmtime counts them.
pub(super) const PUBLICATION: usize = {
    let [old, new] = [size_of::<v1_0::Publication>(), size_of::<v1_1::Publication>()];
    if old > new { old } else { new }
};

/// A plugin whose imports are linked, bound to the version that it was built against.
pub(super) enum Bound {
    /// 1.0
    V1_0(v1_0::GuestPre<GuestState>),
    /// 1.1
    V1_1(v1_1::GuestPre<GuestState>),
}

/// The exports of a guest that has started.
pub(super) enum Exports {
    /// 1.0
    V1_0(v1_0::Guest),
    /// 1.1
    V1_1(v1_1::Guest),
}

impl Bound {
    /// Finds the exports of a version that the router has; patches differ in nothing that matters
    /// here.
    ///
    /// # Errors
    /// Their types are not those of the version.
    pub(super) fn new(linked: InstancePre<GuestState>, version: &Version) -> Result<Self> {
        Ok(match version.minor {
            0 => Self::V1_0(v1_0::GuestPre::new(linked)?),
            _ => Self::V1_1(v1_1::GuestPre::new(linked)?),
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::V1_0(guest) => guest.engine(),
            Self::V1_1(guest) => guest.engine(),
        }
    }

    pub(super) async fn instantiate(&self, store: &mut Store<GuestState>) -> Result<Exports> {
        Ok(match self {
            Self::V1_0(guest) => Exports::V1_0(guest.instantiate_async(store).await?),
            Self::V1_1(guest) => Exports::V1_1(guest.instantiate_async(store).await?),
        })
    }
}

impl Exports {
    /// `filter.subscriptions`
    pub(super) async fn subscriptions(&self, store: &mut Store<GuestState>) -> Result<Vec<String>> {
        match self {
            Self::V1_0(guest) => guest.os2mo_router_filter().call_subscriptions(store).await,
            Self::V1_1(guest) => guest.os2mo_router_filter().call_subscriptions(store).await,
        }
    }

    /// `filter.route`
    pub(super) async fn route(
        &self,
        store: &mut Store<GuestState>,
        event: &Event,
        attempt: u32,
    ) -> Result<Result<Vec<Publication>, Failure>> {
        match self {
            Self::V1_0(guest) => v1_0::route(guest, store, event, attempt).await,
            Self::V1_1(guest) => v1_1::route(guest, store, event, attempt).await,
        }
    }
}

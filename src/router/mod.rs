//! The life of an event between its delivery and its settlement.
//!
//! The rules are in [`core`], without I/O: what is an event, what becomes of an answer,
//! whose turn it is, what is retried, and when a delivery is settled. A [`Session`]
//! drives them live: it takes deliveries from an inbox, has the plugin's `workers`
//! route them, and sends what they cause to an outbox or to the delay store. The
//! [`Breaker`] suspends a plugin that fails on event after event, and [`supervise`] runs
//! session after session.

mod breaker;
pub mod core;
mod destinations;
mod failures;
pub mod planned;
mod session;
mod stats;
mod supervise;
mod traces;
mod version;
pub mod watch;
mod workers;

pub use breaker::Breaker;
pub use core::{Answer, Core, Effect, End, Intake, Job, Limit, Record, Terms};
pub use session::{Context, Session};
pub use stats::{
    Confirms, DeadCause, LoadOutcome, Measures, PublicationOutcome, State, Stats, StatsSnapshot,
};
pub use supervise::{Connector, STABLE, supervise};
pub use version::{Program, Version, Worker};

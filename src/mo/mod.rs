//! MO's GraphQL events: fetched, handed to a sink, and acknowledged.
//!
//! MO keeps an event for each listener and subject until it is acknowledged. A fetch leases one
//! event; what is not acknowledged comes again. The parts, each using those above it:
//!
//! | | |
//! |---|---|
//! | [`keys`] | the routing keys that MO sends |
//! | `documents` | the GraphQL that is sent, and how its answers are read |
//! | `failure` | what can go wrong, and what to do about it |
//! | [`stats`] | counts, for metrics and status |
//! | `http` | requests, TLS, and what servers say of being busy |
//! | `token` | the access token: asked for, and renewed before it expires |
//! | [`client`] | HTTP: one document, one answer |
//! | [`core`] | the rules, without I/O and without a clock |
//! | `report` | what people hear of it |
//! | [`bridge`] | the driver around them |

pub mod bridge;
pub mod client;
pub mod core;
pub mod documents;
mod event;
mod failure;
mod http;
pub mod keys;
mod report;
pub mod stats;
mod token;

pub use bridge::{Bridge, Interest, Surroundings};
pub use client::Client;
pub use documents::{Document, Operation};
pub use event::Event;
pub use failure::Failure;
pub use stats::Stats;

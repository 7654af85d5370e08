//! AMQP 0-9-1 through lapin: the one module that speaks it.
//!
//! In the order of an event's life: a [`Broker`] gives a connection, [`topology`]
//! makes the queues and exchanges, an [`Inbox`] consumes, an [`Outbox`] publishes
//! with confirms, and [`dead`] is where what cannot be delivered waits for people.

mod broker;
mod confirms;
pub mod dead;
mod inbox;
mod incoming;
mod ledger;
mod letter;
mod original;
mod outbox;
mod properties;
mod tap;
pub mod topology;
mod wire;

pub use broker::Broker;
pub use inbox::{Inbox, Receipt};
pub use outbox::Outbox;
pub use tap::Tap;

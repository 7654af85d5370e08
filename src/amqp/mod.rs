//! AMQP 0-9-1: the only module that uses lapin.
//!
//! In the order of an event's life: a [`Broker`] provides channels, [`topology`] declares
//! the queues and exchanges, an [`Inbox`] consumes, an [`Outbox`] publishes with confirms,
//! and [`dead`] has the operations on dead letters.

mod answer;
mod backlog;
mod blocking;
mod broker;
mod broker_headers;
mod channel;
mod check;
mod claim;
mod confirms;
mod consumer_tag;
pub mod dead;
mod deliveries;
mod ending;
mod gate;
mod inbox;
mod incoming;
mod ledger;
mod letter;
mod limit;
mod lost;
mod member;
mod notices;
mod original;
mod outbox;
mod outputs;
mod pool;
mod prefetch;
mod probe;
mod properties;
mod renewed;
mod secrets;
mod tap;
pub mod topology;
mod untaken;
mod wire;

pub use broker::Broker;
pub use claim::Claim;
pub use inbox::{Inbox, Receipt};
pub use outbox::Outbox;
pub use pool::ConnectionStatus;
pub use prefetch::Prefetch;
pub use tap::Tap;
pub use topology::BRIDGE;

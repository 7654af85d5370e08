//! Delayed messages: kept durably until they are due, then published.
//!
//! A message comes in through a [`Handle`], which says when it is committed
//! (`accept`: thousands share one transaction). The scheduler, [`release`],
//! sleeps until the next one is due, publishes it, and removes it once the
//! broker has confirmed it. Between the two lies the [`Store`]: a local file
//! (`sqlite`), or a database that several routers share (`postgres`). People
//! look into it and correct it with the functions of [`Store`], and move
//! mo-delay-agent's messages into it with [`import`].
//!
//! At least once: the same message may be stored twice, or sent twice, always
//! with the same `message_id`; none is lost.

mod accept;
mod alarm;
pub mod import;
mod postgres;
mod record;
mod release;
mod retry;
mod sqlite;
mod store;

/// Bytes of the bodies that are stored or claimed together, at most, unless they are
/// those of one message.
const BYTES_TOGETHER: usize = 16 << 20;

pub use accept::{Entry, Handle, Permit, accepting, handle};
pub use record::{Census, Filter, PERIODS, Stored};
pub use release::release;
pub use store::Store;

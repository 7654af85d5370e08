//! Delayed messages: stored durably until they are due, then published.
//!
//! Messages are added through a [`Handle`], which reports when they are committed (`accept`:
//! thousands share one transaction). The scheduler, [`release`], sleeps until the next one is
//! due, publishes it, and removes it once the broker has confirmed it. The [`Store`] between
//! the two has one of two backends: a local file (`sqlite`), or a database that several
//! routers share (`postgres`). People list and correct messages with the functions of
//! [`Store`], and import those of mo-delay-agent with [`import`].
//!
//! Delivery is at least once: a message may be stored or sent twice, always with the same
//! `message_id`, but none is lost.

mod accept;
mod alarm;
mod blame;
mod change;
mod claim;
mod damage;
mod exchanges;
pub mod export;
pub mod import;
mod monitor;
mod offset;
mod postgres;
pub mod probe;
mod put_off;
mod record;
mod release;
mod retry;
mod senders;
pub mod show;
mod sqlite;
mod stats;
mod store;

/// How many bytes of bodies are stored or claimed together, at most. A single message may be
/// larger.
const BYTES_TOGETHER: usize = 16 << 20;

pub use accept::{Answer, Entry, Handle, Permit, accepting, handle};
pub use blame::Unstorable;
pub use change::settled;
pub use monitor::{GRACE, watch};
pub use record::{Census, Changed, Filter, Import, Overview, PERIODS, Stored, Unusable};
pub use release::{OutboxLost, release};
pub use senders::Senders;
pub use stats::StoreStats;
pub use store::Store;

//! What there must be at the broker: queues, exchanges and bindings.

mod dead_letters;
mod depth;
mod errors;
mod exchanges;
mod inspect;
mod queues;
mod report;

pub(super) use dead_letters::dead_letters_error;
pub use dead_letters::{DEAD, count_dead_letters, declare_dead_letters};
pub use depth::{ANSWERS, Depth, depth, depth_on};
pub use errors::is_permanent;
pub(super) use errors::{is_locked, refused};
pub use exchanges::{
    declare_exchanges, ensure_exchange, find_exchange, forget_exchanges_but, overlooked,
};
pub use inspect::{Finding, Planned, inspect};
pub use queues::{BRIDGE, PluginQueue, bind, declare, delete_queue, queue_name, unbind};

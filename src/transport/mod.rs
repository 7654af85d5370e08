//! What the router asks of the world outside: somewhere events come from, and
//! somewhere messages go. `amqp` and `jsonl` provide both.

mod fate;
mod inbox;
mod outbox;
mod publisher;

pub use fate::{
    Completed, Fate, LETTER_WAITS, LONGEST_RESEND, NextStep, RESENDS, SENDS, is_unroutable,
    unroutable,
};
pub use inbox::{Delivery, Inbox, Received};
pub use outbox::Outbox;
pub use publisher::{Likeness, Publisher, Refusal, Step};

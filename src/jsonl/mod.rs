//! JSON Lines on standard input and output: the transport without a broker.
//!
//! In: `{"routing_key": "employee.it.create", "body": {…}}`, and optionally
//! `exchange`, `headers`, `content_type`, and `received` (when it was recorded).
//! A body that is not JSON is given as `body_text` or `body_base64`.
//!
//! Out: `{"plugin", "exchange", "routing_key", "body", "headers", "due",
//! "message_id"}`, and dead letters as `{"dead": {…}}`. Input lines that cannot be read
//! become dead letters too, with their number as `line`.

mod inbox;
mod input;
mod outbox;
mod output;

pub use inbox::{Inbox, Line, feed};
pub use input::{Recorded, read_line};
pub use outbox::Outbox;
pub use output::{dead_line, message_line, recorded_line};

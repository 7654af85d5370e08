//! JSON Lines on standard input and output: the transport without a broker.
//!
//! In: `{"routing_key": "employee.it.create", "body": {…}}`, and optionally
//! `exchange`, `headers`, the other properties by their names in AMQP, and `received` (when
//! it was recorded). A body that is not JSON is given as `body_text` or `body_base64`. Bodies
//! keep their bytes: JSON is passed on character for character.
//!
//! Out: `{"plugin", "exchange", "routing_key", "body", "headers", "due",
//! "message_id"}`, and dead letters as `{"dead": {…}}`. Input lines that cannot be read
//! become dead letters too, with their number as `line`.

mod header;
mod inbox;
mod input;
mod line;
mod original;
mod outbox;
mod output;
mod recording;

pub use inbox::{Inbox, InputEvent, feed};
pub use input::{Recorded, read_line, read_recorded};
pub use line::Line;
pub use outbox::Outbox;
pub use output::{dead_line, message_line};
pub use recording::recorded_line;

//! What the broker's errors mean, and how to fix their causes.

use anyhow::anyhow;
use lapin::ErrorKind;

/// RabbitMQ's reply code for something that does not exist.
pub(super) const NOT_FOUND: u16 = 404;
/// RabbitMQ's reply code for something that exists with other properties.
pub(super) const PRECONDITION_FAILED: u16 = 406;
/// RabbitMQ's reply code for something that the user may not do.
pub(super) const ACCESS_REFUSED: u16 = 403;

/// An error that remains until a person fixes its cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Permanent(String);

/// Whether trying again cannot help: the error remains until a person fixes its cause.
pub fn is_permanent(error: &anyhow::Error) -> bool {
    error.is::<Permanent>()
}

pub(super) fn exchange_error(name: &str, error: lapin::Error) -> anyhow::Error {
    match reply_code(&error) {
        Some(NOT_FOUND) => Permanent(format!(
            "exchange {name:?} does not exist: create it, or let the router do so with \
             [amqp] declare = \"durable\""
        ))
        .into(),
        Some(PRECONDITION_FAILED) => Permanent(format!(
            "exchange {name:?} exists, but is not a durable topic exchange ({error}): \
             use it as it is with [amqp] declare = \"passive\""
        ))
        .into(),
        Some(ACCESS_REFUSED) => Permanent(format!(
            "the user in [amqp] url may not use exchange {name:?} ({error}): grant the permission"
        ))
        .into(),
        _ => anyhow!(error).context(format!("declaring exchange {name:?}")),
    }
}

pub(super) fn queue_error(name: &str, error: lapin::Error) -> anyhow::Error {
    match reply_code(&error) {
        Some(PRECONDITION_FAILED) => Permanent(format!(
            "queue {name:?} exists, but its properties differ from the settings ({error}): \
             set [amqp] queue_type, delivery_limit and single_active_consumer as they were, or let \
             the queue run empty and delete it"
        ))
        .into(),
        _ => anyhow!(error).context(format!("declaring queue {name:?}")),
    }
}

/// Whether the broker said that something does not exist.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    reply_code(error) == Some(NOT_FOUND)
}

/// What the broker answered, if it answered.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

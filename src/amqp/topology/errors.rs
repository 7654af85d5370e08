//! What the broker's errors mean, and how to fix their causes.

use anyhow::anyhow;
use lapin::ErrorKind;

/// RabbitMQ's reply code for something that does not exist.
pub(super) const NOT_FOUND: u16 = 404;
/// RabbitMQ's reply code for something that exists with other properties.
pub(super) const PRECONDITION_FAILED: u16 = 406;
/// RabbitMQ's reply code for something that another connection has locked.
pub(super) const RESOURCE_LOCKED: u16 = 405;
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
    let what = format!("declaring exchange {name:?}");
    if limit(&error) {
        return over_limit(&what, error);
    }
    match reply_code(&error) {
        Some(NOT_FOUND) => Permanent(format!(
            "exchange {name:?} does not exist: create it, or let the router do so with \
             [amqp] declare = \"durable\""
        ))
        .into(),
        Some(PRECONDITION_FAILED) => Permanent(format!(
            "exchange {name:?} exists, but is not a topic exchange ({error}): use another name, \
             or this one as it is with [amqp] declare = \"passive\""
        ))
        .into(),
        _ => refused(&what, error),
    }
}

pub(super) fn queue_error(name: &str, error: lapin::Error) -> anyhow::Error {
    queue_error_with(name, error, |error| {
        format!(
            "queue {name:?} exists, but its properties differ from the settings ({error}): \
             set [amqp] queue_type, delivery_limit and single_active_consumer as they were, or let \
             the queue run empty and delete it"
        )
    })
}

/// As [`queue_error`] for the queue of dead letters, whose properties no setting changes.
pub(super) fn dead_letter_queue_error(name: &str, error: lapin::Error) -> anyhow::Error {
    queue_error_with(name, error, |error| {
        format!(
            "queue {name:?} exists, but is not as the router declares it ({error}), which no \
             setting changes: send its dead letters back or discard them, and delete the queue; \
             the router makes it again. Or use it as it is with [amqp] declare = \"passive\""
        )
    })
}

fn queue_error_with(
    name: &str,
    error: lapin::Error,
    differs: impl FnOnce(&lapin::Error) -> String,
) -> anyhow::Error {
    let what = format!("declaring queue {name:?}");
    if limit(&error) {
        return over_limit(&what, error);
    }
    match reply_code(&error) {
        Some(PRECONDITION_FAILED) => Permanent(differs(&error)).into(),
        _ => refused(&what, error),
    }
}

/// Says which right is missing, if that is why the broker refused.
pub(crate) fn refused(what: &str, error: lapin::Error) -> anyhow::Error {
    if reply_code(&error) != Some(ACCESS_REFUSED) {
        return anyhow!(error).context(what.to_owned());
    }
    let said = said(&error);
    let right = missing_right(what, &said).map_or_else(
        || "grant the user in [amqp] url the permission".to_owned(),
        |(right, object)| {
            format!(
                "the user in [amqp] url has no {right} permission on {object}: grant it, for \
                 example with rabbitmqctl set_permissions"
            )
        },
    );
    Permanent(format!("{what}: the broker refuses it ({said}): {right}")).into()
}

/// The right that is missing, and on what, in the broker's words: "ACCESS_REFUSED - write access
/// to exchange 'x' in vhost '/' refused for user 'y'". Older ones do not name the right, which
/// follows from what was tried.
fn missing_right<'a>(what: &str, said: &'a str) -> Option<(&'a str, &'a str)> {
    let (before, after) = said.split_once("access to ")?;
    let (object, _) = after.split_once(" refused")?;
    let right = match before.trim_end().rsplit(' ').next()? {
        right @ ("configure" | "read" | "write") => right,
        _ if what.starts_with("declaring") => "configure",
        _ if what.starts_with("binding") && object.starts_with("queue") => "write",
        _ if what.starts_with("publishing") => "write",
        _ => "read",
    };
    Some((right, object))
}

/// Whether something would be one too many: the broker answers as if it existed with other
/// properties.
fn limit(error: &lapin::Error) -> bool {
    reply_code(error) == Some(PRECONDITION_FAILED) && is_limit(&said(error))
}

fn is_limit(said: &str) -> bool {
    said.contains(" limit ") || said.contains(" limit of ")
}

fn over_limit(what: &str, error: lapin::Error) -> anyhow::Error {
    let said = said(&error);
    Permanent(format!(
        "{what}: the broker has as many as it may have ({said}): delete what is not needed, or \
         raise the limit: that of a virtual host with rabbitmqctl set_vhost_limits (max-queues), \
         that of all in the broker's configuration"
    ))
    .into()
}

/// The broker's own words.
pub(super) fn said(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// Whether an exchange that was declared exists as a topic exchange, and differs in something
/// else. The broker names the first argument that differs, and the type comes first.
pub(super) fn is_usable_as_it_is(error: &lapin::Error) -> bool {
    let said = said(error);
    reply_code(error) == Some(PRECONDITION_FAILED)
        && said.contains("inequivalent arg")
        && !said.contains("inequivalent arg 'type'")
}

/// Whether the broker said that something does not exist.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    reply_code(error) == Some(NOT_FOUND)
}

/// Whether the broker said that the user may not do something.
pub(super) fn is_access_refused(error: &lapin::Error) -> bool {
    reply_code(error) == Some(ACCESS_REFUSED)
}

/// Whether the broker said that another connection has locked something.
pub(crate) fn is_locked(error: &lapin::Error) -> bool {
    reply_code(error) == Some(RESOURCE_LOCKED)
}

/// What the broker answered, if it answered.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn error(code: u16, text: &str) -> lapin::Error {
        let error = AMQPError::from_id(code, text.into()).unwrap();
        ErrorKind::ProtocolError(error).into()
    }

    #[test]
    fn a_missing_right_is_named_in_the_brokers_words() {
        let text = "ACCESS_REFUSED - write access to exchange 'mo-router.dead' in vhost '/' refused \
                    for user 'router'";
        let refused = refused("publishing", error(ACCESS_REFUSED, text));
        assert!(is_permanent(&refused));
        let refused = refused.to_string();
        assert!(refused.contains(text), "{refused}");
        let right = "no write permission on exchange 'mo-router.dead' in vhost '/'";
        assert!(refused.contains(right), "{refused}");

        let older = "ACCESS_REFUSED - access to exchange 'os2mo' in vhost '/' refused for user 'x'";
        for (what, right) in [("declaring exchange", "configure"), ("binding queue", "read")] {
            let refused = super::refused(what, error(ACCESS_REFUSED, older)).to_string();
            assert!(refused.contains(&format!("no {right} permission on exchange")), "{refused}");
        }
    }

    #[test]
    fn a_topic_exchange_is_used_as_it_is() {
        for (arg, usable) in [("durable", true), ("auto_delete", true), ("type", false)] {
            let text = format!("PRECONDITION_FAILED - inequivalent arg '{arg}' for exchange 'x'");
            assert_eq!(is_usable_as_it_is(&error(PRECONDITION_FAILED, &text)), usable);
        }
    }

    #[test]
    fn a_limit_is_no_difference_of_properties() {
        let limit = "PRECONDITION_FAILED - cannot declare queue 'mo-router.p' in vhost '/': queue \
                     limit in vhost '/' (3) is reached";
        let said = queue_error("mo-router.p", error(PRECONDITION_FAILED, limit)).to_string();
        assert!(said.contains(limit) && said.contains("max-queues"), "{said}");
        assert!(!said.contains("properties"), "{said}");

        let other = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue \
                     'mo-router.p' in vhost '/'";
        let said = queue_error("mo-router.p", error(PRECONDITION_FAILED, other)).to_string();
        assert!(said.contains("properties differ") && said.contains(other), "{said}");
        let said = dead_letter_queue_error("mo-router.dead", error(PRECONDITION_FAILED, other));
        let said = said.to_string();
        assert!(said.contains("delete the queue") && !said.contains("queue_type"), "{said}");
    }
}

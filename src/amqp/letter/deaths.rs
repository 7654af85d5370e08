//! What the broker says about a message that it dead-lettered itself: the header
//! `x-death`, a list with the latest death first.
//!
//! A publisher can send that header too, and RabbitMQ before version 4 adds to what it
//! finds. The first entry is the broker's own all the same, in its queue and its reason.

use std::collections::BTreeMap;

use crate::amqp::broker_headers::DEATHS;
use crate::amqp::original;
use crate::amqp::topology::DEAD;
use crate::event::{Datetime, Value};

/// A message's latest death.
#[derive(Debug)]
pub struct Death {
    /// Why, for people.
    pub reason: String,
    /// The queue that it was in.
    pub queue: Option<Vec<u8>>,
    /// The exchange that had put it there.
    pub exchange: Vec<u8>,
    /// The routing key that it had then.
    pub routing_key: Vec<u8>,
    /// How many times it died so.
    pub count: i64,
    /// When it first did.
    pub since: Option<Datetime>,
}

/// The death that made a message a dead letter; none if the router made it one. The router
/// writes no `x-death`, so that a letter of its own can have died in the queue of dead
/// letters only, which a policy may empty: such deaths are passed over.
pub fn latest(headers: &BTreeMap<String, Value>) -> Option<Death> {
    let Value::List(deaths) = headers.get(DEATHS)? else { return Some(Death::unknown()) };
    let mut deaths = deaths.iter().skip_while(|death| match death {
        Value::Table(death) => death.get("queue").and_then(Value::text) == Some(DEAD),
        _ => false,
    });
    Some(match deaths.next()? {
        Value::Table(death) => Death::of(death),
        _ => Death::unknown(),
    })
}

impl Death {
    /// One of which the broker's words cannot be read.
    pub fn unknown() -> Self {
        Self {
            reason: "the broker gave up on it, and why cannot be read".to_owned(),
            queue: None,
            exchange: Vec::new(),
            routing_key: Vec::new(),
            count: 0,
            since: None,
        }
    }

    fn of(death: &BTreeMap<String, Value>) -> Self {
        let bytes = |value: Option<&Value>| value.cloned().and_then(original::bytes);
        let routing_key = match death.get("routing-keys") {
            Some(Value::List(keys)) => bytes(keys.first()),
            _ => None,
        };
        let since = match death.get("time") {
            Some(Value::Timestamp(seconds)) => Datetime::from_unix(*seconds as i64, 0),
            _ => None,
        };
        let queue = bytes(death.get("queue"));
        let named = queue.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        Self {
            reason: explain(death.get("reason").and_then(Value::text).unwrap_or("?"), &named),
            exchange: bytes(death.get("exchange")).unwrap_or_default(),
            routing_key: routing_key.unwrap_or_default(),
            count: death.get("count").and_then(Value::int).unwrap_or(0),
            queue,
            since,
        }
    }
}

/// The broker's reason in words, with what to look at.
fn explain(reason: &str, queue: &str) -> String {
    match reason {
        "delivery_limit" => format!(
            "the broker gave up on it (delivery_limit): queue {queue:?} redelivered it as often as \
             the queue's x-delivery-limit allows and no delivery was acknowledged: its plugin was \
             suspended for hours, what it causes is never confirmed, the connection was lost again \
             and again, or it takes the router down: look in the router's log for \"suspended\", \
             \"session renewed\", \"session lost\" and the router's starts"
        ),
        "expired" => format!(
            "it expired in queue {queue:?} (expired): the publisher's expiration or a message-ttl \
             of the queue passed before a router took it: look whether the plugin runs and keeps \
             up, and at the queue's policies"
        ),
        "maxlen" => format!(
            "queue {queue:?} was full (maxlen): look at the max-length of its policies, and \
             whether the plugin runs and keeps up"
        ),
        "rejected" => format!(
            "a consumer of queue {queue:?} rejected it (rejected), which the router never does: \
             look at who else consumes from it"
        ),
        other => format!("the broker gave up on it ({other}) in queue {queue:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &str, reason: &str) -> Value {
        let entries = [
            ("queue", queue.into()),
            ("reason", reason.into()),
            ("exchange", "os2mo".into()),
            ("routing-keys", Value::List(vec!["a.b.c".into()])),
            ("count", Value::Int64(2)),
            ("time", Value::Timestamp(1_700_000_000)),
        ];
        Value::Table(entries.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn latest_of(deaths: impl Into<Value>) -> Option<Death> {
        latest(&BTreeMap::from([(DEATHS.to_owned(), deaths.into())]))
    }

    impl From<Vec<Value>> for Value {
        fn from(values: Vec<Value>) -> Self {
            Value::List(values)
        }
    }

    #[test]
    fn the_first_death_tells() {
        let deaths = vec![death("mo-router.p", "expired"), death("other", "rejected")];
        let death = latest_of(deaths).unwrap();
        assert_eq!(death.queue.unwrap(), b"mo-router.p");
        assert_eq!((&death.exchange[..], &death.routing_key[..]), (&b"os2mo"[..], &b"a.b.c"[..]));
        assert_eq!((death.count, death.since.unwrap().seconds()), (2, 1_700_000_000));
    }

    #[test]
    fn the_reason_is_the_brokers_own_with_what_to_look_at() {
        for (reason, hint) in [
            ("delivery_limit", "suspended for hours"),
            ("expired", "message-ttl"),
            ("maxlen", "max-length"),
            ("rejected", "who else consumes"),
            ("new", "(new)"),
        ] {
            let said = latest_of(vec![death("mo-router.p", reason)]).unwrap().reason;
            assert!(said.contains(hint) && said.contains(&format!("({reason})")), "{said}");
            assert!(said.contains("\"mo-router.p\""), "{said}");
            assert_eq!(said.contains("takes the router down"), reason == "delivery_limit");
        }
    }

    #[test]
    fn deaths_among_the_dead_letters_do_not_count() {
        assert!(latest(&BTreeMap::new()).is_none());
        assert!(latest_of(vec![death(DEAD, "expired"), death(DEAD, "maxlen")]).is_none());
        let deaths = vec![death(DEAD, "expired"), death("mo-router.p", "rejected")];
        assert!(latest_of(deaths).unwrap().reason.contains("rejected"));
        // A publisher's entry stands behind the broker's.
        let deaths = vec![death("mo-router.p", "rejected"), death(DEAD, "expired")];
        assert!(latest_of(deaths).unwrap().reason.contains("rejected"));
    }

    #[test]
    fn a_header_that_is_no_list_of_deaths_is_not_the_routers() {
        assert!(latest_of("text").is_some());
        assert!(latest_of(vec!["text".into()]).unwrap().queue.is_none());
    }
}

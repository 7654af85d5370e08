//! The headers that the router sets; names that begin so are its own.

use std::collections::BTreeMap;

use super::Value;

/// What all of them begin with.
pub const PREFIX: &str = "mo-router-";
/// How many times the message has left a router.
pub const HOPS: &str = "mo-router-hops";
/// Of a message whose event had a `message_id`: that one. Its own is the router's.
pub const EVENT_ID: &str = "mo-router-event-id";
/// Of a delayed message or a dead letter: the plugin.
pub const PLUGIN: &str = "mo-router-plugin";
/// The version of that plugin.
pub const VERSION: &str = "mo-router-version";
/// Of a delayed message: when its event takes effect, as MO sent it, in UTC.
pub const EVENT_TIME: &str = "mo-router-event-time";
/// Of a delayed message: when it was due.
pub const DUE: &str = "mo-router-due";

/// Of a dead letter: why.
pub const REASON: &str = "mo-router-reason";
/// Of a dead letter: how many times it was tried.
pub const ATTEMPTS: &str = "mo-router-attempts";
/// Of a dead letter: `event` or `publication`.
pub const KIND: &str = "mo-router-kind";
/// Of a dead letter: the queue that its event came from, or the event that caused it.
pub const QUEUE: &str = "mo-router-queue";
/// Of a dead letter: the exchange that the message was published to.
pub const EXCHANGE: &str = "mo-router-exchange";
/// Of a dead letter: the routing key that the message was published with.
pub const ROUTING_KEY: &str = "mo-router-routing-key";
/// Of a dead letter whose properties cannot be read: the properties, as AMQP writes them.
pub const PROPERTIES: &str = "mo-router-properties";
/// The same of properties that leave no room in a frame: how many bytes of them follow the body.
pub const PROPERTIES_SIZE: &str = "mo-router-properties-size";
/// Of a dead letter that has the start of its body alone: how many bytes the whole had.
pub const BODY_SIZE: &str = "mo-router-body-size";
/// Of a dead letter: since when it is one.
pub const DEAD_SINCE: &str = "mo-router-dead-since";

/// RabbitMQ's, not the router's: the further routing keys that a message is sent to.
pub const COPIES: [&str; 2] = ["CC", "BCC"];

/// What begins the names of headers that a dead letter keeps for its message, because
/// the broker or the router would take them for something else: `x-death`, say.
pub const ORIGINAL: &str = "mo-router-original-";

/// Removes the router's own headers from a message that comes from outside: whoever
/// published it may have set them. Its hops stay, for they count loops, unless they are
/// no count, which is none.
pub fn remove_own(headers: &mut BTreeMap<String, Value>) {
    headers.retain(|name, value| {
        !name.starts_with(PREFIX) || (name == HOPS && value.int().is_some_and(|hops| hops >= 0))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_routers_own_headers_only_hops_come_from_outside() {
        let hops = |hops: Value| {
            let mut headers = BTreeMap::from([
                (HOPS.to_owned(), hops),
                (KIND.to_owned(), "publication".into()),
                (format!("{ORIGINAL}CC"), "elsewhere".into()),
                ("own".to_owned(), "kept".into()),
            ]);
            remove_own(&mut headers);
            assert_eq!(headers.remove("own"), Some("kept".into()));
            let hops = headers.remove(HOPS);
            assert!(headers.is_empty(), "{headers:?}");
            hops
        };
        assert_eq!(hops(Value::Int8(3)), Some(Value::Int8(3)));
        for no_count in [Value::Int8(-1), Value::Int(i64::MIN), "3".into(), Value::Null] {
            assert_eq!(hops(no_count), None);
        }
    }
}

//! What the broker answers by closing a channel, cannot be sent, is refused by a queue, is
//! not confirmed for long, or cannot be read.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::support::traffic::Event;

/// The most bytes of a frame, as RabbitMQ has it.
const FRAME: usize = 131_072;
/// How much less than a frame an event's headers may have, so that it is the router's own that do
/// not fit beside them, in bytes.
pub const LEFT: usize = 82;
const WIDE: usize = FRAME - LEFT;
/// Stands for a text that is too long for a routing key.
pub const LONG: &str = "LONG";

/// A message that cannot be delivered as it is, by what makes a plugin publish it.
pub struct Poison {
    pub name: &'static str,
    pub settings: &'static str,
    /// Bytes of headers that the event brings.
    pub headers: usize,
    pub ends: End,
}

/// What becomes of a poison.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// A dead letter whose reason has this in it.
    Dead(&'static str),
    /// Delivered to the queue that has its name, once that takes it.
    Late,
}

pub const POISONS: [Poison; 11] = [
    Poison {
        name: "cc",
        settings: "config.header = 'CC=elsewhere'",
        headers: 0,
        ends: End::Dead("406 PRECONDITION_FAILED"),
    },
    Poison {
        name: "internal",
        settings: "exchanges = ['internal']\nconfig.to = 'internal'",
        headers: 0,
        ends: End::Dead("403 ACCESS_REFUSED"),
    },
    Poison {
        name: "forbidden",
        settings: "exchanges = ['forbidden']\nconfig.to = 'forbidden'",
        headers: 0,
        ends: End::Dead("403 ACCESS_REFUSED"),
    },
    Poison {
        name: "topical",
        settings: "exchanges = ['topical']\nconfig.to = 'topical'",
        headers: 0,
        ends: End::Dead("403 ACCESS_REFUSED"),
    },
    Poison {
        name: "missing",
        settings: "exchanges = ['missing']\nconfig.to = 'missing'",
        headers: 0,
        ends: End::Dead("\"missing\" does not exist"),
    },
    Poison {
        name: "nowhere",
        settings: "exchanges = ['nowhere']\nconfig.to = 'nowhere'",
        headers: 0,
        ends: End::Dead("no queue is bound to exchange \"nowhere\""),
    },
    Poison {
        name: "long",
        settings: "config.key = 'LONG'",
        headers: 0,
        ends: End::Dead("more than 255"),
    },
    Poison {
        name: "large",
        settings: "config.size = '1500000'",
        headers: 0,
        ends: End::Dead("406 PRECONDITION_FAILED"),
    },
    Poison {
        name: "headers",
        settings: "config.header = 'more=0123456789012345678901234567890123456789'",
        headers: WIDE,
        ends: End::Dead("more than the 131072"),
    },
    Poison {
        name: "narrow",
        settings: "exchanges = ['narrow']\nconfig.to = 'narrow'",
        headers: 0,
        ends: End::Late,
    },
    Poison {
        name: "stuck",
        settings: "exchanges = ['stuck']\nconfig.to = 'stuck'",
        headers: 0,
        ends: End::Late,
    },
];

/// How a poison leaves the plugin.
pub const WHEN: [(&str, &str); 2] = [("now", ""), ("later", "config.delay = '300'")];

/// Events that are themselves the poison, or whose dead letter is.
pub const REJECTED: [(&str, &str, usize, &str); 2] = [
    ("rejected-wide", "config.answer = 'reject'", WIDE, "told to reject"),
    ("rejected-wordy", "config.answer = 'reject'\nconfig.words = '20000'", 0, "told to reject"),
];

/// The routing key of the events for one plugin.
pub fn key(plugin: &str) -> String {
    format!("employee.{plugin}.create")
}

/// The event that makes a plugin publish its poison, or is it.
pub fn poisonous(plugin: &str, headers: usize) -> Event {
    let body =
        r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00+02:00"}"#;
    let mut event = Event::new(&key(plugin), body);
    event.properties = BasicProperties::default().with_delivery_mode(2);
    if headers > 0 {
        let mut table = FieldTable::default();
        table.insert("x".into(), AMQPValue::LongString("x".repeat(headers).into()));
        event.properties = event.properties.with_headers(table);
    }
    event
}

//! Dead letters in any number, written as a router writes them.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::scene::DEAD;
use super::traffic::{Client, Event};

/// How many are published before their confirms are waited for.
const BATCH: u64 = 2000;

/// A header table.
pub fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// A header's text.
pub fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The letter of a publication of `plugin`, a second after the one before it.
pub fn publication(number: u64, plugin: &str, exchange: &str, reason: &str) -> Event {
    let (day, seconds) = (number / 86_400 + 1, number % 86_400);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let since = format!("2030-01-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    let headers = table(&[
        ("mo-router-kind", text("publication")),
        ("mo-router-plugin", text(plugin)),
        ("mo-router-version", text("1")),
        ("mo-router-attempts", AMQPValue::LongInt(1)),
        ("mo-router-reason", text(reason)),
        ("mo-router-exchange", text(exchange)),
        ("mo-router-routing-key", text("employee.engagement.edit")),
        ("mo-router-queue", text(&format!("mo-router.{plugin}"))),
        ("mo-router-dead-since", text(&since)),
    ]);
    let Event { body, properties, .. } = Event::numbered(number, 100);
    let properties: BasicProperties = properties.with_headers(headers);
    Event { key: plugin.to_owned(), body, properties }
}

/// Puts letters into the queue of dead letters, which is there, in their order.
pub async fn put(client: &Client, count: u64, letter: impl Fn(u64) -> Event) {
    for start in (0..count).step_by(BATCH as usize) {
        let end = count.min(start + BATCH);
        client.publish(DEAD, (start..end).map(&letter)).await;
    }
}

mod router;

use router::{Event, Failure, Publication, Value};

fn subscriptions() -> Vec<String> {
    vec!["employee.#".to_owned()]
}

fn route(event: Event) -> Result<Vec<Publication>, Failure> {
    let count = event.header("count").and_then(Value::int).unwrap_or_default();
    let Some(Value::List(deaths)) = event.header("deaths") else { return Ok(Vec::new()) };
    let Value::Table(death) = &event.nested[deaths[0] as usize] else { return Ok(Vec::new()) };
    let queue = death.iter().find(|(name, _)| name == "queue").map_or(0, |(_, place)| *place);
    let queue = event.nested[queue as usize].text().unwrap_or_default().to_owned();
    let since = event.header("since").cloned().unwrap_or(Value::Null);
    Ok(vec![Publication {
        content_type: Some("text/plain".to_owned()),
        content_encoding: Some(String::new()),
        headers: vec![
            ("text".to_owned(), "a".into()),
            ("count".to_owned(), Value::Int32(count as i32 + 1)),
            ("since".to_owned(), since),
            ("queues".to_owned(), Value::List(vec![0, 1])),
        ],
        nested: vec![queue.into(), Value::Table(vec![("n".to_owned(), 2)]), 1.into()],
        priority: event.priority.map(|priority| priority + 1),
        correlation_id: event.message_id,
        expiration: Some("60000".to_owned()),
        timestamp: event.timestamp.map(|timestamp| timestamp + 1),
        type_: event.type_.map(|kind| kind + "!"),
        ..Publication::default()
    }])
}

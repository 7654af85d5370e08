//! Forwards what happens to employees, but not what is only refreshed.

wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Due, Event, Failure, Publication};

struct Plugin;

impl Guest for Plugin {
    fn subscriptions() -> Vec<String> {
        vec!["employee.#".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        if event.topic.action.as_deref() == Some("refresh") {
            return Ok(Vec::new());
        }
        Ok(vec![forward()])
    }
}

/// The event itself, unchanged, at once.
fn forward() -> Publication {
    Publication {
        exchange: None,
        routing_key: None,
        body: None,
        headers: Vec::new(),
        due: Due::Now,
        key: None,
    }
}

// A native linker, as in `cargo test`, cannot take the names of the exports.
#[cfg(target_arch = "wasm32")]
export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use os2mo::router::types::Topic;

    fn event(action: &str) -> Event {
        Event {
            exchange: "os2mo".to_owned(),
            routing_key: format!("employee.address.{action}"),
            topic: Topic {
                service: Some("employee".to_owned()),
                object_type: "address".to_owned(),
                action: Some(action.to_owned()),
            },
            uuid: "1469208d-6867-4c28-9c26-ea10cdc85a5b".to_owned(),
            object_uuid: None,
            time: None,
            body: b"{}".to_vec(),
            content_type: None,
            headers: Vec::new(),
            redelivered: false,
            attempt: 1,
        }
    }

    fn publications(action: &str) -> usize {
        Plugin::route(event(action)).map_or(0, |publications| publications.len())
    }

    #[test]
    fn edits_are_forwarded() {
        assert_eq!(publications("edit"), 1);
    }

    #[test]
    fn refreshes_are_dropped() {
        assert_eq!(publications("refresh"), 0);
    }
}

//! Forwards what happens to employees, but not what is only refreshed.

mod router;

use router::{Event, Failure, Level, Publication, log, setting};

/// The events that the plugin wants.
fn subscriptions() -> Vec<String> {
    vec!["employee.#".to_owned()]
}

/// What to publish for one event. `config.skip` has the actions that are not forwarded.
fn route(event: Event) -> Result<Vec<Publication>, Failure> {
    let action = event.topic.action.unwrap_or_default();
    if setting("skip", "refresh").split_whitespace().any(|skipped| skipped == action) {
        log(Level::Debug, "route", &format!("skipped {}", event.routing_key));
        return Ok(Vec::new());
    }
    Ok(vec![Publication::default()])
}

#[cfg(test)]
mod tests {
    use super::router::{Topic, host};
    use super::*;

    fn event(action: &str) -> Event {
        Event {
            routing_key: format!("employee.address.{action}"),
            topic: Topic {
                service: Some("employee".to_owned()),
                object_type: "address".to_owned(),
                action: Some(action.to_owned()),
            },
            body: b"{}".to_vec(),
            ..Event::default()
        }
    }

    fn publications(action: &str) -> usize {
        route(event(action)).map_or(0, |publications| publications.len())
    }

    #[test]
    fn edits_are_forwarded() {
        assert_eq!(publications("edit"), 1);
    }

    #[test]
    fn refreshes_are_dropped() {
        assert_eq!(publications("refresh"), 0);
        assert_eq!(host::logged()[0].1, "skipped employee.address.refresh");
    }

    #[test]
    fn what_is_skipped_is_a_setting() {
        host::set("skip", "edit terminate");
        assert_eq!(publications("edit"), 0);
        assert_eq!(publications("refresh"), 1);
    }
}

//! Forwards every event when the change that it tells of takes effect.

wit_bindgen::generate!({
    path: "../../wit/1.1.0",
    world: "plugin",
    generate_all,
    additional_derives: [Default],
    additional_derives_ignore: ["due", "failure", "value", "level", "error"],
});

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Datetime, Due, Event, Failure, Publication};

struct MoDelay;

impl Guest for MoDelay {
    fn subscriptions() -> Vec<String> {
        vec!["#".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        Ok(vec![forward(due(event.time))])
    }
}

// A native linker, as in `cargo test`, cannot take the names of the exports.
#[cfg(target_arch = "wasm32")]
export!(MoDelay);

/// What MO sends as the time of a change without a date, the creation of a person say:
/// 9999-12-31T23:59:59.999999Z, in seconds.
const NO_DATE: i64 = 253_402_300_799;

/// The time of the change, or now for events that carry none. The router sends
/// at once what is due at a time that has passed.
fn due(time: Option<Datetime>) -> Due {
    match time {
        Some(time) if time.seconds < NO_DATE => Due::At(time),
        _ => Due::Now,
    }
}

/// The event itself, unchanged, when it is due.
fn forward(due: Due) -> Publication {
    Publication { due, ..Publication::default() }
}

#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Due {
    fn default() -> Self {
        Due::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_for_its_time() {
        let far = Datetime { seconds: NO_DATE - 1, nanoseconds: 999_999_999 };
        let Due::At(at) = due(Some(far)) else {
            panic!("an event with a time is due at it");
        };
        assert_eq!((at.seconds, at.nanoseconds), (far.seconds, far.nanoseconds));
    }

    #[test]
    fn no_date_is_nothing_to_wait_for() {
        let no_date = Datetime { seconds: NO_DATE, nanoseconds: 999_999_000 };
        assert!(matches!(due(Some(no_date)), Due::Now));
    }

    #[test]
    fn an_event_without_a_time_does_not_wait() {
        assert!(matches!(due(None), Due::Now));
    }

    #[test]
    fn the_message_itself_is_left_as_it_is() {
        let publication = forward(Due::Now);
        assert!(publication.exchange.is_none());
        assert!(publication.routing_key.is_none());
        assert!(publication.body.is_none());
    }
}

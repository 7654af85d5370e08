//! Forwards the events of employees and drops all others.

wit_bindgen::generate!({ path: "../../wit", world: "plugin", generate_all });

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Due, Event, Failure, Publication, Topic};

struct EmployeeFilter;

impl Guest for EmployeeFilter {
    fn subscriptions() -> Vec<String> {
        vec!["employee.#".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        if concerns_employee(&event.topic) { Ok(vec![forward()]) } else { Ok(Vec::new()) }
    }
}

// A native linker, as in `cargo test`, cannot take the names of the exports.
#[cfg(target_arch = "wasm32")]
export!(EmployeeFilter);

/// The broker sees to this by the subscription above, but the settings can give
/// the plugin another one.
fn concerns_employee(topic: &Topic) -> bool {
    topic.service.as_deref() == Some("employee")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(service: Option<&str>, object_type: &str) -> Topic {
        Topic {
            service: service.map(str::to_owned),
            object_type: object_type.to_owned(),
            action: None,
        }
    }

    #[test]
    fn employees_pass() {
        assert!(concerns_employee(&topic(Some("employee"), "engagement")));
    }

    #[test]
    fn units_do_not() {
        assert!(!concerns_employee(&topic(Some("org_unit"), "engagement")));
    }

    #[test]
    fn one_word_keys_do_not_say_whom_they_concern() {
        assert!(!concerns_employee(&topic(None, "employee")));
    }
}

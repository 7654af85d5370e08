//! Forwards the events of employees and drops all others.

wit_bindgen::generate!({
    path: "../../wit/1.1.0",
    world: "plugin",
    generate_all,
    additional_derives: [Default],
    additional_derives_ignore: ["due", "failure", "value", "level", "error"],
});

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Due, Event, Failure, Publication, Topic};

struct EmployeeFilter;

impl Guest for EmployeeFilter {
    fn subscriptions() -> Vec<String> {
        vec!["employee.#".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        // A publication with nothing set is the event itself, unchanged, at once.
        let forward = concerns_employee(&event.topic).then(Publication::default);
        Ok(forward.into_iter().collect())
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

#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Due {
    fn default() -> Self {
        Due::Now
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

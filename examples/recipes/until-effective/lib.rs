wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Due, Event, Failure, Publication};

struct UntilEffective;

impl Guest for UntilEffective {
    fn subscriptions() -> Vec<String> {
        vec!["*.*.*".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        Ok(vec![Publication {
            exchange: None,
            routing_key: None,
            body: None,
            headers: Vec::new(),
            key: None,
            due: event.time.map_or(Due::Now, Due::At),
        }])
    }
}

#[cfg(target_arch = "wasm32")]
export!(UntilEffective);

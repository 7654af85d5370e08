mod router;

use router::{Due, Event, Failure, Publication};

fn subscriptions() -> Vec<String> {
    vec!["*.*.*".to_owned()]
}

fn route(event: Event) -> Result<Vec<Publication>, Failure> {
    Ok(vec![Publication { due: event.time.map_or(Due::Now, Due::At), ..Publication::default() }])
}

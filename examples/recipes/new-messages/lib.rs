mod router;

use router::{Due, Event, Failure, Publication, Topic};

/// The newer key of what changed. What is told of twice, about the person and about the unit, is taken once.
fn new_key(topic: &Topic) -> Option<&'static str> {
    match (topic.service.as_deref()?, topic.object_type.as_str()) {
        ("employee", "employee") => Some("person"),
        ("employee", "engagement") => Some("engagement"),
        ("employee", "association") => Some("association"),
        ("employee", "leave") => Some("leave"),
        ("org_unit", "org_unit") => Some("org_unit"),
        ("org_unit", "manager") => Some("manager"), // also while nobody has the post
        ("org_unit", "kle") => Some("kle"),
        ("org_unit", "rolebinding") => Some("rolebinding"), // its end alone
        (_, "it") => Some("ituser"),
        (_, "address") => Some("address"),
        (_, "owner") => Some("owner"),
        _ => None,
    }
}

fn subscriptions() -> Vec<String> {
    vec!["*.*.*".to_owned()]
}

fn route(event: Event) -> Result<Vec<Publication>, Failure> {
    let Some(key) = new_key(&event.topic) else { return Ok(Vec::new()) };
    let object = event.object_uuid.unwrap_or(event.uuid);
    Ok(vec![Publication {
        routing_key: Some(key.to_owned()),
        body: Some(format!("\"{object}\"").into_bytes()),
        due: event.time.map_or(Due::Now, Due::At), // newer messages come when the change takes effect
        ..Publication::default()
    }])
}

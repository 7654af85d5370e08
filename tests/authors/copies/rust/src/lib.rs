mod router;
#[cfg(test)]
mod tests;

use router::{Event, Failure, Publication, all_settings};

fn subscriptions() -> Vec<String> {
    vec!["employee.#".to_owned()]
}

fn route(_: Event) -> Result<Vec<Publication>, Failure> {
    let all = all_settings().into_iter();
    let copies = all.filter(|(key, _)| key.starts_with("copy-"));
    let copy = |(_, key)| Publication { routing_key: Some(key), ..Default::default() };
    Ok(copies.map(copy).collect())
}

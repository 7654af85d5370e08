use super::router::{Event, host};

#[test]
fn copies_are_settings() {
    assert_eq!(super::route(Event::default()).map_or(9, |copies| copies.len()), 0);
    for (key, value) in [("copy-b", "two"), ("other", ""), ("copy-a", "one")] {
        host::set(key, value);
    }
    let copies = super::route(Event::default()).unwrap_or_default();
    let keys: Vec<_> = copies.iter().filter_map(|copy| copy.routing_key.as_deref()).collect();
    assert_eq!(keys, ["one", "two"]);
}

//! Addresses of PostgreSQL, as libpq takes them.

use super::super::StoreUrl;
use super::{error, load};

#[test]
fn several_hosts_and_none_are_addresses_too() {
    for (url, variables, expected) in [
        ("postgres://mo:pw@h1:5432,h2:5433/d?target_session_attrs=read-write", vec![], None),
        ("postgres://mo@%2Frun%2Fpostgresql/d", vec![], None),
        ("postgres:///d", vec![("PGHOST", "db")], Some("postgres:///d?host=db")),
    ] {
        let settings = load(&format!("delay.store = '{url}'"), &variables).unwrap();
        let StoreUrl::Postgres(store) = settings.delay.store else { panic!("{url}") };
        assert_eq!(store.expose(), expected.unwrap_or(url));
    }
}

#[test]
fn what_is_no_address_is_named() {
    for url in ["postgres://h1:5432,h2:port/d", "postgres:///d", "postgres://h1:x,h2/d"] {
        let error = error(&format!("delay.store = '{url}'"), &[]);
        assert!(error.contains("delay.store"), "{error}");
    }
}

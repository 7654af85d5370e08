//! Keeps a few fields of every event's body and sends what is left to two
//! exchanges, as JSON with a header that names the fields that were taken out.

wit_bindgen::generate!({
    path: "../../wit/1.1.0",
    world: "plugin",
    generate_all,
    additional_derives: [Default],
    additional_derives_ignore: ["due", "failure", "value", "level", "error"],
});

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Due, Event, Failure, Publication, Value as Header};
use serde_json::{Map, Value};
use wasi::config::store;
use wasi::logging::logging::{Level, log};

struct Redact;

impl Guest for Redact {
    fn subscriptions() -> Vec<String> {
        vec!["#".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        let keep = setting("keep", "uuid time")?;
        let exchanges = setting("to", "os2mo_public os2mo_partners")?;

        let redacted = redact(&event.body, &words(&keep));
        log(Level::Debug, "redacted", &redacted.removed.join(" "));
        Ok(words(&exchanges).into_iter().map(|exchange| publication(exchange, &redacted)).collect())
    }
}

// A native linker, as in `cargo test`, cannot take the names of the exports.
#[cfg(target_arch = "wasm32")]
export!(Redact);

/// The setting `[plugin.redact] config.KEY`, or `default` where it is not set.
fn setting(key: &str, default: &str) -> Result<String, Failure> {
    match store::get(key) {
        Ok(value) => Ok(value.unwrap_or_else(|| default.to_owned())),
        Err(error) => Err(Failure::Retry(format!("setting {key}: {error}"))),
    }
}

fn words(list: &str) -> Vec<&str> {
    list.split_whitespace().collect()
}

/// A body with nothing in it that must not be seen.
#[derive(Debug, PartialEq)]
struct Redacted {
    /// None where the body can stay as it is.
    body: Option<Vec<u8>>,
    /// The names of the fields that were taken out.
    removed: Vec<String>,
}

/// Takes all fields but those named in `keep` out of a JSON object.
///
/// The body of a one-word key is a UUID and no object; it stays as it is.
fn redact(body: &[u8], keep: &[&str]) -> Redacted {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return Redacted { body: None, removed: Vec::new() };
    };
    let (kept, removed): (Map<_, _>, Map<_, _>) =
        fields.into_iter().partition(|(name, _)| keep.contains(&name.as_str()));
    Redacted {
        body: Some(Value::Object(kept).to_string().into_bytes()),
        removed: removed.into_iter().map(|(name, _)| name).collect(),
    }
}

fn publication(exchange: &str, redacted: &Redacted) -> Publication {
    let removed = Header::Text(redacted.removed.join(" "));
    Publication {
        exchange: Some(exchange.to_owned()),
        content_type: redacted.body.is_some().then(|| "application/json".to_owned()),
        body: redacted.body.clone(),
        headers: vec![("redacted".to_owned(), removed)],
        ..Publication::default()
    }
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
    fn only_the_fields_to_keep_are_left() {
        let body = br#"{"uuid": "7626ad64", "time": "2024-07-01", "object_uuid": "d3028e2e", "cpr": "0101701234"}"#;
        assert_eq!(
            redact(body, &["uuid", "time"]),
            Redacted {
                body: Some(br#"{"time":"2024-07-01","uuid":"7626ad64"}"#.to_vec()),
                removed: vec!["cpr".to_owned(), "object_uuid".to_owned()],
            }
        );
    }

    #[test]
    fn a_bare_uuid_stays_as_it_is() {
        let redacted = redact(br#""7626ad64-327d-481f-8b32-36c78eb12f8c""#, &["uuid"]);
        assert_eq!(redacted.body, None);
        assert!(redacted.removed.is_empty());
    }

    #[test]
    fn the_header_names_what_is_missing() {
        let redacted = redact(br#"{"uuid": "7626ad64", "name": "Ada", "cpr": "1"}"#, &["uuid"]);
        let sent = publication("os2mo_public", &redacted);
        assert_eq!(sent.exchange.as_deref(), Some("os2mo_public"));
        let [(name, Header::Text(removed))] = &sent.headers[..] else {
            panic!("{:?}", sent.headers);
        };
        assert_eq!((name.as_str(), removed.as_str()), ("redacted", "cpr name"));
        assert_eq!(sent.content_type.as_deref(), Some("application/json"));
        assert_eq!(sent.body.as_deref(), Some(&br#"{"uuid":"7626ad64"}"#[..]));
    }
}

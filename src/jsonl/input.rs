//! Lines of the input.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Datetime, Incoming, Properties, Value, headers};

/// A message, and when it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// When it was recorded, if the line says so.
    pub received: Option<Datetime>,
    /// The message.
    pub message: Incoming,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    received: Option<Datetime>,
    #[serde(default)]
    exchange: String,
    routing_key: String,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_text: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, serde_json::Value>,
    content_type: Option<String>,
    message_id: Option<String>,
}

/// Reads one line. A JSON body keeps its exact bytes.
///
/// # Errors
/// Says what is wrong with the line.
pub fn read_line(line: &str) -> Result<Recorded> {
    let line: Line<'_> = serde_json::from_str(line)
        .context("not a line such as {\"routing_key\": \"employee.it.create\", \"body\": {…}}")?;
    let body = match (line.body, line.body_text, line.body_base64) {
        (Some(json), None, None) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, Some(text), None) => text.into(),
        (None, None, Some(base64)) => BASE64_STANDARD
            .decode(&base64)
            .with_context(|| format!("body_base64 {base64:?}"))?
            .into(),
        (None, None, None) => bail!("no body: give one of body, body_text and body_base64"),
        _ => bail!("more than one body: give one of body, body_text and body_base64"),
    };
    let mut headers = line.headers.into_iter().map(|(name, value)| (name, header(value))).collect();
    headers::remove_own(&mut headers);
    let properties = Properties {
        content_type: line.content_type,
        message_id: line.message_id,
        headers,
        ..Properties::default()
    };
    let message = Incoming {
        exchange: line.exchange,
        routing_key: line.routing_key,
        properties: properties.into(),
        body,
        deliveries: 0,
    };
    Ok(Recorded { received: line.received, message })
}

fn header(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(values) => Value::List(values.into_iter().map(header).collect()),
        serde_json::Value::Object(table) => {
            Value::Table(table.into_iter().map(|(name, value)| (name, header(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_keeps_its_bytes() {
        let line =
            r#"{"routing_key": "a.b.c", "body": {"uuid" : "x",  "n": 1.0}, "headers": {"h": 1}}"#;
        let recorded = read_line(line).unwrap();
        assert_eq!(recorded.message.body, r#"{"uuid" : "x",  "n": 1.0}"#);
        assert_eq!(recorded.message.properties.headers["h"], Value::Int(1));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_explained() {
        for (line, reason) in [
            ("{}", "routing_key"),
            (r#"{"routing_key": "a"}"#, "no body"),
            (r#"{"routing_key": "a", "body": 1, "body_text": "1"}"#, "more than one body"),
            (r#"{"routing_key": "a", "body": 1, "routingkey": "a"}"#, "routingkey"),
        ] {
            let error = format!("{:#}", read_line(line).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}

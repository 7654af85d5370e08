//! Lines of the input.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::header::from_json;
use super::original::Original;
use crate::event::{Datetime, Incoming, Properties, headers};

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
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    body_text: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Json>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    priority: Option<u8>,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    expiration: Option<String>,
    message_id: Option<String>,
    timestamp: Option<u64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    app_id: Option<String>,
    unreadable: Option<Original>,
}

/// A value that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one line as it was written, the router's own headers included. A JSON body keeps
/// its exact bytes.
///
/// # Errors
/// Says what is wrong with the line.
pub fn read_recorded(line: &str) -> Result<Recorded> {
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
    let header = |(name, json)| {
        let value = from_json(json).map_err(|wrong| anyhow!("header {name:?}: {wrong}"))?;
        Ok((name, value))
    };
    let properties = Properties {
        content_type: line.content_type,
        content_encoding: line.content_encoding,
        headers: line.headers.into_iter().map(header).collect::<Result<_>>()?,
        priority: line.priority,
        correlation_id: line.correlation_id,
        reply_to: line.reply_to,
        expiration: line.expiration,
        message_id: line.message_id,
        timestamp: line.timestamp,
        kind: line.kind,
        app_id: line.app_id,
        unreadable: line.unreadable.map(|original| Box::new(original.into())),
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

/// Reads one line as an event from outside, whose headers are nobody's of the router.
///
/// # Errors
/// Says what is wrong with the line.
pub fn read_line(line: &str) -> Result<Recorded> {
    let mut recorded = read_recorded(line)?;
    headers::remove_own(&mut recorded.message.properties.headers);
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Value;

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

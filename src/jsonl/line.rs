//! A line that is written: its fields, and a body whose bytes are exactly those of the
//! message.

use std::fmt::{self, Display};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use crate::escape;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Line {
    fields: Map<String, Json>,
    body: Body,
    /// Whether all of it is the value of `dead`.
    is_dead: bool,
    /// Fields beside `dead`.
    beside: Map<String, Json>,
}

/// A body in the most readable form that keeps its bytes.
#[derive(Clone, Debug)]
enum Body {
    /// `body`: JSON, character for character.
    Json(Box<RawValue>),
    /// `body_text`: text that is no JSON, or JSON that is not on one line.
    Text(String),
    /// `body_base64`: anything else.
    Base64(String),
}

impl Line {
    pub(super) fn new(fields: Map<String, Json>, body: &[u8]) -> Self {
        Self { fields, body: Body::of(body), is_dead: false, beside: Map::new() }
    }

    pub(super) fn dead(fields: Map<String, Json>, body: &[u8]) -> Self {
        Self { is_dead: true, ..Self::new(fields, body) }
    }

    /// Adds a field.
    pub fn put(&mut self, name: &str, value: impl Into<Json>) {
        let fields = if self.is_dead { &mut self.beside } else { &mut self.fields };
        fields.insert(name.to_owned(), value.into());
    }

    /// Takes a field out of what was published, or of the dead letter.
    pub fn remove(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// Whether it is a dead letter's.
    pub const fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// The line as a value, in which a body of JSON is parsed. One that a value cannot hold, such as
    /// 1e999 or half of a surrogate pair, is `body_text`.
    pub fn to_json(&self) -> Json {
        let (name, body) = self.body.to_json();
        let mut fields = self.fields.clone();
        fields.insert(name.into(), body);
        if !self.is_dead {
            return fields.into();
        }
        let mut beside = self.beside.clone();
        beside.insert("dead".into(), fields.into());
        beside.into()
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::json(self).map_err(|_| fmt::Error)?)
    }
}

impl Body {
    fn of(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::Base64(BASE64_STANDARD.encode(bytes));
        };
        // What a reader would drop around a value, or take for the end of the line.
        // A terminal must not obey it either; in a string, such characters can be escaped.
        let is_line = text.trim_ascii() == text && escape::is_plain(text);
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) if is_line => Self::Json(json),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl Body {
    /// The name of its field, and its value.
    fn to_json(&self) -> (&'static str, Json) {
        match self {
            Self::Json(json) => match serde_json::from_str(json.get()) {
                Ok(value) => ("body", value),
                Err(_) => ("body_text", json.get().into()),
            },
            Self::Text(text) => ("body_text", text.as_str().into()),
            Self::Base64(text) => ("body_base64", text.as_str().into()),
        }
    }
}

/// The fields of a line, which a wrapped one has as the value of `dead`.
struct Fields<'a>(&'a Line);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Line { fields, body, .. } = self.0;
        let mut map = serializer.serialize_map(Some(fields.len() + 1))?;
        for (name, value) in fields {
            map.serialize_entry(name, value)?;
        }
        match body {
            Body::Json(json) => map.serialize_entry("body", json)?,
            Body::Text(text) => map.serialize_entry("body_text", text)?,
            Body::Base64(text) => map.serialize_entry("body_base64", text)?,
        }
        map.end()
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_dead {
            return Fields(self).serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.beside.len() + 1))?;
        for (name, value) in &self.beside {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("dead", &Fields(self))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: &[u8]) -> String {
        Line::new(Map::new(), body).to_string()
    }

    #[test]
    fn a_body_keeps_its_bytes() {
        for (body, line) in [
            (
                &br#"{"b": 1.0,  "a":1e2, "a": "\u00e5"}"#[..],
                r#"{"body":{"b": 1.0,  "a":1e2, "a": "\u00e5"}}"#,
            ),
            (b"12345678901234567890123", r#"{"body":12345678901234567890123}"#),
            (b" {}", r#"{"body_text":" {}"}"#),
            (b"{\n}", r#"{"body_text":"{\n}"}"#),
            (b"\xef\xbb\xbf{}", r#"{"body_text":"\ufeff{}"}"#),
            ("\"\u{202e}\"".as_bytes(), "{\"body_text\":\"\\\"\\u202e\\\"\"}"),
            (b"", r#"{"body_text":""}"#),
            (b"\xff", r#"{"body_base64":"/w=="}"#),
        ] {
            assert_eq!(written(body), line);
        }
    }

    #[test]
    fn what_no_value_can_hold_is_text() {
        for body in [r#""\ud800""#, "1e999", r#"{"a":1e999}"#] {
            let line = Line::new(Map::new(), body.as_bytes());
            assert_eq!(line.to_string(), format!("{{\"body\":{body}}}"));
            assert_eq!(line.to_json(), serde_json::json!({ "body_text": body }));
        }
        let whole = Line::new(Map::from_iter([("plugin".to_owned(), "p".into())]), b"{\"a\": 1}");
        assert_eq!(whole.to_json(), serde_json::json!({ "plugin": "p", "body": { "a": 1 } }));
    }

    #[test]
    fn what_is_added_to_a_dead_line_is_beside_it() {
        let mut line = Line::dead(Map::from_iter([("reason".to_owned(), "no".into())]), b"1");
        line.put("at", "then");
        assert_eq!(line.to_string(), r#"{"at":"then","dead":{"reason":"no","body":1}}"#);
        assert_eq!(line.to_json()["dead"]["body"], 1);
    }
}

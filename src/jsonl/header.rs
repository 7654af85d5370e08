//! Header values as JSON, and back.
//!
//! What JSON has is written as JSON: text, truths, lists, tables, null, integers (AMQP's of 32
//! bits, or 64 if they need them) and doubles. Other types are an object of one key, as in
//! MongoDB's extended JSON, so that they come back as they were: `{"$int8": 5}`,
//! `{"$timestamp": 1767225600}`, `{"$binary": "AAE="}`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::event::{Value, is_json_number};

/// The value as JSON.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) if is_json_number(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(values) => values.iter().map(to_json).collect(),
        Value::Table(table) => table_to_json(table),
        Value::Int8(value) => json!({ "$int8": value }),
        Value::Int16(value) => json!({ "$int16": value }),
        Value::Int64(value) => json!({ "$int64": value }),
        Value::UInt8(value) => json!({ "$uint8": value }),
        Value::UInt16(value) => json!({ "$uint16": value }),
        Value::UInt32(value) => json!({ "$uint32": value }),
        Value::Float(value) => json!({ "$double": value.to_string() }),
        Value::Float32(value) => json!({ "$float": value.to_string() }),
        Value::Decimal { scale, value } => {
            json!({ "$decimal": { "scale": scale, "value": value } })
        }
        Value::Timestamp(seconds) => json!({ "$timestamp": seconds }),
        Value::Bytes(bytes) => json!({ "$bytes": BASE64_STANDARD.encode(bytes) }),
        Value::Binary(bytes) => json!({ "$binary": BASE64_STANDARD.encode(bytes) }),
    }
}

/// A table whose one key could be taken for a type is marked as a table.
fn table_to_json(table: &BTreeMap<String, Value>) -> Json {
    let json: Map<_, _> =
        table.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
    match is_typed(&json) {
        true => json!({ "$table": json }),
        false => json.into(),
    }
}

fn is_typed(json: &Map<String, Json>) -> bool {
    json.len() == 1 && json.keys().all(|key| key.starts_with('$'))
}

/// The value that JSON stands for.
///
/// # Errors
/// Names a type that does not exist, or a value that is not of its type.
pub fn from_json(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(values) => {
            Value::List(values.into_iter().map(from_json).collect::<Result<_, _>>()?)
        }
        Json::Object(object) if is_typed(&object) => match object.into_iter().next() {
            Some((name, value)) => typed(&name, value)?,
            None => Value::Table(BTreeMap::new()),
        },
        Json::Object(object) => table(object)?,
    })
}

fn table(object: Map<String, Json>) -> Result<Value, String> {
    let entry = |(name, value)| Ok::<_, String>((name, from_json(value)?));
    Ok(Value::Table(object.into_iter().map(entry).collect::<Result<_, _>>()?))
}

fn typed(name: &str, json: Json) -> Result<Value, String> {
    #[derive(Deserialize)]
    struct Decimal {
        scale: u8,
        value: u32,
    }
    fn read<T: serde::de::DeserializeOwned>(json: Json) -> Option<T> {
        serde_json::from_value(json).ok()
    }
    let base64 = |json: Json| BASE64_STANDARD.decode(json.as_str()?).ok();
    let shown = json.to_string();
    let value = match name {
        "$int8" => read(json).map(Value::Int8),
        "$int16" => read(json).map(Value::Int16),
        "$int64" => read(json).map(Value::Int64),
        "$uint8" => read(json).map(Value::UInt8),
        "$uint16" => read(json).map(Value::UInt16),
        "$uint32" => read(json).map(Value::UInt32),
        "$double" => json.as_str().and_then(|text| text.parse().ok()).map(Value::Float),
        "$float" => json.as_str().and_then(|text| text.parse().ok()).map(Value::Float32),
        "$decimal" => read(json).map(|Decimal { scale, value }| Value::Decimal { scale, value }),
        "$timestamp" => read(json).map(Value::Timestamp),
        "$bytes" => base64(json).map(Value::Bytes),
        "$binary" => base64(json).map(Value::Binary),
        "$table" => match json {
            Json::Object(object) => Some(table(object)?),
            _ => None,
        },
        _ => {
            return Err(format!(
                "there is no type {name:?}: a table with that key is {{\"$table\": {{…}}}}"
            ));
        }
    };
    value.ok_or_else(|| format!("{shown} is no {}", &name[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_as_it_was() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Int(-5),
            Value::Int(i64::MAX),
            Value::Int8(-5),
            Value::Int16(5),
            Value::Int64(5),
            Value::UInt8(5),
            Value::UInt16(5),
            Value::UInt32(5),
            Value::Float(1.0),
            Value::Float(0.1),
            // What serde_json reads as another number.
            Value::Float(31.245270191439438),
            Value::Float(f64::INFINITY),
            Value::Float32(0.1),
            Value::Decimal { scale: 2, value: 314 },
            Value::Timestamp(1_767_225_600),
            "text".into(),
            Value::Bytes(vec![0xff]),
            Value::Binary(vec![0, 1]),
            Value::List(vec![Value::Int8(1), "x".into()]),
            Value::Table(BTreeMap::from([("a".into(), Value::Int(1)), ("b".into(), Value::Null)])),
            Value::Table(BTreeMap::from([("$int8".into(), Value::Int(1))])),
            Value::Table(BTreeMap::new()),
        ];
        for value in values {
            let text = to_json(&value).to_string();
            assert_eq!(from_json(serde_json::from_str(&text).unwrap()), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_of_no_type_is_named() {
        assert_eq!(from_json(json!({ "$int8": 500 })), Err("500 is no int8".into()));
        assert!(from_json(json!({ "$int9": 5 })).unwrap_err().contains("\"$int9\""));
    }
}

//! Floating-point numbers as JSON, which come back as they were.
//!
//! JSON has no number for infinity or for what is not a number, and serde_json reads some with many
//! digits as the number beside them. Those are text.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or the text of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written<T> {
    Number(T),
    Text(String),
}

/// Whether a number that is written to JSON as such is read as what it was.
pub fn is_json_number<T: Serialize + DeserializeOwned + PartialEq>(number: &T) -> bool {
    let read = serde_json::to_string(number).and_then(|text| serde_json::from_str::<T>(&text));
    read.is_ok_and(|read| read == *number)
}

pub(super) fn serialize<T, S>(number: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + DeserializeOwned + PartialEq + Display,
    S: Serializer,
{
    match is_json_number(number) {
        true => number.serialize(serializer),
        false => serializer.collect_str(number),
    }
}

pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => {
            text.parse().map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Value;

    fn stored(value: &Value) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn every_number_comes_back_bit_by_bit() {
        let numbers = [
            (0.1, r#"{"Float":0.1}"#),
            (-0.0, r#"{"Float":-0.0}"#),
            (f64::MAX, r#"{"Float":1.7976931348623157e308}"#),
            (f64::NAN, r#"{"Float":"NaN"}"#),
            (f64::INFINITY, r#"{"Float":"inf"}"#),
            (f64::NEG_INFINITY, r#"{"Float":"-inf"}"#),
            // What serde_json reads as another one.
            (31.245270191439438, r#"{"Float":"31.245270191439438"}"#),
        ];
        for (number, text) in numbers {
            assert_eq!(stored(&Value::Float(number)).replace("e+", "e"), text);
            let Value::Float(read) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
            assert_eq!(read.to_bits(), number.to_bits(), "{text}");
        }
        for number in [0.1, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let text = stored(&Value::Float32(number));
            let Value::Float32(read) = serde_json::from_str(&text).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(read.to_bits(), number.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [r#"{"Float":"many"}"#, r#"{"Float":null}"#, r#"{"Float32":[]}"#] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
        let whole: Value = serde_json::from_str(r#"{"Float":1}"#).unwrap();
        assert_eq!(whole, Value::Float(1.0));
    }
}

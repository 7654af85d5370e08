//! The values of AMQP headers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How deep lists and tables may be nested in a header. The delay store keeps headers as JSON,
/// which is read to 128 levels, and each level here is two there.
pub const LEVELS: usize = 32;

/// The value of a header, with the type that it has in AMQP, so that it leaves as it came.
/// The delay store keeps the names of the variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer of 32 bits, or of 64 if it needs them.
    Int(i64),
    /// An integer of 8 bits.
    Int8(i8),
    /// An integer of 16 bits.
    Int16(i16),
    /// An integer of 64 bits that does not need them.
    Int64(i64),
    /// An unsigned integer of 8 bits.
    UInt8(u8),
    /// An unsigned integer of 16 bits.
    UInt16(u16),
    /// An unsigned integer of 32 bits.
    UInt32(u32),
    /// A double.
    Float(#[serde(with = "super::float")] f64),
    /// A float.
    Float32(#[serde(with = "super::float")] f32),
    /// A decimal number: so many digits of the value are behind the point.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// Text: a long string.
    Text(String),
    /// A long string that is not UTF-8.
    Bytes(Vec<u8>),
    /// A byte array.
    Binary(Vec<u8>),
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// A list.
    List(Vec<Value>),
    /// A table.
    Table(BTreeMap<String, Value>),
}

impl Value {
    /// Bytes that it takes in memory, roughly.
    fn size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Value::Text(text) => text.len(),
                Value::Bytes(bytes) | Value::Binary(bytes) => bytes.len(),
                Value::List(values) => values.iter().map(Value::size).sum(),
                Value::Table(table) => table_size(table),
                _ => 0,
            }
    }

    /// The bytes of its content, and of what is in it.
    pub fn content(&self) -> usize {
        match self {
            Value::Null => 0,
            Value::Bool(_) | Value::Int8(_) | Value::UInt8(_) => 1,
            Value::Int16(_) | Value::UInt16(_) => 2,
            Value::UInt32(_) | Value::Float32(_) => 4,
            Value::Decimal { .. } => 5,
            Value::Int(_) | Value::Int64(_) | Value::Float(_) | Value::Timestamp(_) => 8,
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) | Value::Binary(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(|value| 1 + value.content()).sum(),
            Value::Table(table) => {
                table.iter().map(|(name, value)| 1 + name.len() + value.content()).sum()
            }
        }
    }

    /// The text, of a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, of an integer.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) | Value::Int64(number) => Some(*number),
            Value::Int8(number) => Some((*number).into()),
            Value::Int16(number) => Some((*number).into()),
            Value::UInt8(number) => Some((*number).into()),
            Value::UInt16(number) => Some((*number).into()),
            Value::UInt32(number) => Some((*number).into()),
            _ => None,
        }
    }

    /// The number, of one that need not be an integer.
    pub fn float(&self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(*number),
            Value::Float32(number) => Some((*number).into()),
            Value::Decimal { scale, value } => {
                Some(f64::from(*value) / 10f64.powi((*scale).into()))
            }
            _ => None,
        }
    }

    /// A small integer in as few bytes as can be.
    pub fn shortest(number: i64) -> Self {
        i8::try_from(number).map_or(Value::Int(number), Value::Int8)
    }

    /// The value as a plugin reads it; none for those that are not text, a number or a truth.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Timestamp(value) => Some(value.to_string()),
            number => match number.int() {
                Some(int) => Some(int.to_string()),
                None => number.float().map(|float| float.to_string()),
            },
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

/// Bytes that a table takes in memory, roughly.
pub(super) fn table_size(table: &BTreeMap<String, Value>) -> usize {
    table.iter().map(|(name, value)| size_of::<String>() + name.len() + value.size()).sum()
}

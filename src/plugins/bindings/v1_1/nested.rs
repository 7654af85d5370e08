//! Headers as the interface has them since 1.1.0: what is in a list or a table is beside the
//! headers, and the list or table names its place there, since WIT has no recursive types.

use std::collections::BTreeMap;

use super::{Decimal, ValueParam, ValueResult};
use crate::event::{LEVELS, Value};

/// What is in the lists and tables of an event's headers. That of one is in a row. Most events
/// have none, and nothing is allocated for them.
#[derive(Default)]
pub(super) struct Inner<'a> {
    values: Vec<&'a Value>,
    /// The place of each value.
    places: Vec<u32>,
    /// The same, with the value's name in its table.
    named: Vec<(&'a str, u32)>,
    /// Where the row of each list and table begins, in the order in which they are met.
    starts: Vec<usize>,
}

type Lowered<'a> = (Vec<(&'a str, ValueParam<'a>)>, Vec<ValueParam<'a>>);

impl<'a> Inner<'a> {
    pub(super) fn of(headers: &'a BTreeMap<String, Value>) -> Self {
        let mut inner = Self::default();
        for value in headers.values() {
            inner.take(value);
        }
        let mut next = 0;
        while let Some(value) = inner.values.get(next) {
            inner.take(value);
            next += 1;
        }
        inner
    }

    /// Takes what is in a list or table.
    fn take(&mut self, value: &'a Value) {
        match value {
            Value::List(values) => {
                self.starts.push(self.values.len());
                values.iter().for_each(|value| self.push("", value));
            }
            Value::Table(table) => {
                self.starts.push(self.values.len());
                table.iter().for_each(|(name, value)| self.push(name, value));
            }
            _ => {}
        }
    }

    fn push(&mut self, name: &'a str, value: &'a Value) {
        // The headers of a message fit a frame: there are far fewer than that.
        let place = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value);
        self.places.push(place);
        self.named.push((name, place));
    }

    /// The headers, and what is in their lists and tables.
    pub(super) fn lower(&'a self, headers: &'a BTreeMap<String, Value>) -> Lowered<'a> {
        let mut starts = self.starts.iter().copied();
        let headers = headers.iter().map(|(name, value)| (&**name, self.one(value, &mut starts)));
        let headers = headers.collect();
        let nested = self.values.iter().map(|value| self.one(value, &mut starts)).collect();
        (headers, nested)
    }

    fn one(&'a self, value: &'a Value, starts: &mut impl Iterator<Item = usize>) -> ValueParam<'a> {
        match value {
            Value::Null => ValueParam::Null,
            Value::Bool(value) => ValueParam::Boolean(*value),
            Value::Int8(value) => ValueParam::Int8(*value),
            Value::Int16(value) => ValueParam::Int16(*value),
            Value::Int(value) => match i32::try_from(*value) {
                Ok(value) => ValueParam::Int32(value),
                Err(_) => ValueParam::Int64(*value),
            },
            Value::Int64(value) => ValueParam::Int64(*value),
            Value::UInt8(value) => ValueParam::Uint8(*value),
            Value::UInt16(value) => ValueParam::Uint16(*value),
            Value::UInt32(value) => ValueParam::Uint32(*value),
            Value::Float32(value) => ValueParam::Float(*value),
            Value::Float(value) => ValueParam::Double(*value),
            Value::Decimal { scale, value } => {
                ValueParam::Decimal(Decimal { scale: *scale, digits: *value })
            }
            Value::Timestamp(seconds) => ValueParam::Timestamp(*seconds),
            Value::Text(text) => ValueParam::Text(text),
            Value::Bytes(bytes) => ValueParam::Bytes(bytes),
            Value::Binary(bytes) => ValueParam::Binary(bytes),
            Value::List(values) => {
                let start = starts.next().unwrap_or_default();
                ValueParam::List(&self.places[start..start + values.len()])
            }
            Value::Table(table) => {
                let start = starts.next().unwrap_or_default();
                ValueParam::Table(&self.named[start..start + table.len()])
            }
        }
    }
}

/// The headers that a plugin returned.
///
/// # Errors
/// Names the header whose list or table cannot be, says why, and what to do.
pub(super) fn lift(
    headers: Vec<(String, ValueResult)>,
    nested: Vec<ValueResult>,
) -> Result<Vec<(String, Value)>, String> {
    let mut nested = Nested(nested.into_iter().map(Some).collect());
    let lifted = headers.into_iter().map(|(name, value)| {
        let value =
            nested.one(value, LEVELS).map_err(|wrong| format!("header {name:?}: {wrong}"))?;
        Ok((name, value))
    });
    let lifted = lifted.collect::<Result<_, String>>()?;
    match nested.0.iter().position(Option::is_some) {
        None => Ok(lifted),
        Some(place) => Err(format!(
            "nested[{place}]: no list or table of a header names it: put its place into one, or \
             leave it out"
        )),
    }
}

/// What lists and tables may name. Each value is taken out when it is named, so that no list is in
/// itself, and none becomes larger than what the plugin returned.
struct Nested(Vec<Option<ValueResult>>);

impl Nested {
    fn one(&mut self, value: ValueResult, levels: usize) -> Result<Value, String> {
        Ok(match value {
            ValueResult::Null => Value::Null,
            ValueResult::Boolean(value) => Value::Bool(value),
            ValueResult::Int8(value) => Value::Int8(value),
            ValueResult::Int16(value) => Value::Int16(value),
            ValueResult::Int32(value) => Value::Int(value.into()),
            ValueResult::Int64(value) if i32::try_from(value).is_ok() => Value::Int64(value),
            ValueResult::Int64(value) => Value::Int(value),
            ValueResult::Uint8(value) => Value::UInt8(value),
            ValueResult::Uint16(value) => Value::UInt16(value),
            ValueResult::Uint32(value) => Value::UInt32(value),
            ValueResult::Float(value) => Value::Float32(value),
            ValueResult::Double(value) => Value::Float(value),
            ValueResult::Decimal(Decimal { scale, digits }) => {
                Value::Decimal { scale, value: digits }
            }
            ValueResult::Timestamp(seconds) => Value::Timestamp(seconds),
            ValueResult::Text(text) => Value::Text(text),
            ValueResult::Bytes(bytes) => Value::Bytes(bytes),
            ValueResult::Binary(bytes) => Value::Binary(bytes),
            ValueResult::List(places) => {
                let inner = places.into_iter().map(|place| self.inner(place, levels));
                Value::List(inner.collect::<Result<_, _>>()?)
            }
            ValueResult::Table(places) => {
                let inner = places.into_iter().map(|(name, place)| {
                    let value = self.inner(place, levels)?;
                    Ok((name, value))
                });
                Value::Table(inner.collect::<Result<_, String>>()?)
            }
        })
    }

    fn inner(&mut self, place: u32, levels: usize) -> Result<Value, String> {
        let length = self.0.len();
        let Some(slot) = self.0.get_mut(place as usize) else {
            return Err(format!(
                "it names nested[{place}], but nested has {length} values: places count from 0"
            ));
        };
        let value = slot.take().ok_or_else(|| {
            format!("nested[{place}] is named twice: put a value into nested for each place it has")
        })?;
        match levels.checked_sub(1) {
            Some(levels) => self.one(value, levels),
            None => Err(format!("it is nested more than {LEVELS} levels deep: make it flatter")),
        }
    }
}

#[cfg(test)]
mod tests;

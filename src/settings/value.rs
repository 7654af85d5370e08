//! The types that a setting can have, read from text or a list.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use chrono_tz::Tz;

use super::nearest::nearest;
use crate::event::SHORT_STRING;

/// A value as it was written, before its type is known.
pub(super) enum Raw {
    /// A variable, or a single value in the file.
    Text(String),
    /// An array in the file. Its items stand for themselves, commas and all.
    List(Vec<String>),
}

impl Raw {
    /// The text of a single value.
    ///
    /// # Errors
    /// It is a list.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) => Err("an array cannot be here; write one value".into()),
        }
    }
}

/// A type that a setting can have.
pub(super) trait SettingValue: Sized {
    /// Reads a variable, or a single value of the file: both are written alike.
    ///
    /// # Errors
    /// Says what is wrong with the text, and how to fix it. Secrets in it are left out.
    fn parse(text: &str) -> Result<Self, String>;

    /// As it would be written, secrets included; empty for none.
    fn to_text(&self) -> String;

    /// Reads a value from wherever it was written.
    ///
    /// # Errors
    /// As [`SettingValue::parse`]; or it is a list, and the type is not one.
    fn read(raw: &Raw) -> Result<Self, String> {
        Self::parse(raw.text()?)
    }
}

/// # Errors
/// Names the value and the range, if it is outside.
pub(super) fn check_range<T: SettingValue + PartialOrd>(
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), String> {
    if range.contains(value) {
        return Ok(());
    }
    Err(format!("{} is out of range; it must be {}", value.to_text(), range_text(range)))
}

/// A range for people.
pub(super) fn range_text<T: SettingValue>(range: &RangeInclusive<T>) -> String {
    format!("from {} to {}", range.start().to_text(), range.end().to_text())
}

impl SettingValue for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("{text:?} must be true or false")),
        }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => { $(
        impl SettingValue for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("{text:?} must be a whole number"))
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
whole_numbers!(u16, u32, usize);

impl SettingValue for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("{text:?} must be a number"))
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// Among the settings, a `u64` is a size in bytes.
impl SettingValue for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be a size, such as \"64 MiB\" or a number of bytes");
        text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| wrong())
    }

    fn to_text(&self) -> String {
        ByteSize::b(*self).to_string().replace(".0 ", " ")
    }
}

impl SettingValue for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map_err(|_| {
            format!(
                "{text:?} must be a time span with its unit, such as \"1s\", \"250ms\" or \"7days\""
            )
        })
    }

    fn to_text(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl SettingValue for Tz {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let near = nearest(text, names).unwrap_or("Europe/Copenhagen");
            format!("{text:?} is not a time zone; did you mean {near:?}?")
        })
    }

    fn to_text(&self) -> String {
        self.name().into()
    }
}

impl SettingValue for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} must be an IP address and a port, such as \"127.0.0.1:9095\" or \"[::]:9095\"")
        })
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty".into());
        }
        Ok(text.into())
    }

    fn to_text(&self) -> String {
        self.display().to_string()
    }
}

impl SettingValue for String {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the name is empty".into());
        }
        Ok(text.into())
    }

    fn to_text(&self) -> String {
        self.clone()
    }
}

/// Names at the broker: of exchanges and queues, routing keys, patterns. In a section they are `at
/// the broker`.
pub(super) trait AmqpNames {
    /// # Errors
    /// Says which one is longer than AMQP allows.
    fn check(&self) -> Result<(), String>;
}

impl AmqpNames for String {
    fn check(&self) -> Result<(), String> {
        match self.len() {
            ..=SHORT_STRING => Ok(()),
            length => Err(format!("the name has {length} bytes; AMQP allows {SHORT_STRING}")),
        }
    }
}

impl AmqpNames for Vec<String> {
    fn check(&self) -> Result<(), String> {
        self.iter().try_for_each(AmqpNames::check)
    }
}

impl<T: AmqpNames> AmqpNames for Option<T> {
    fn check(&self) -> Result<(), String> {
        self.iter().try_for_each(AmqpNames::check)
    }
}

/// In the file an array; as text, separated by commas, or a JSON array when an item
/// has a comma or is empty. Empty names are allowed: `""` is AMQP's default exchange.
impl SettingValue for Vec<String> {
    fn parse(text: &str) -> Result<Self, String> {
        let items: Self = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(|_| {
                format!(
                    "{text:?} begins like a JSON array but is not one of strings, such as [\"a\", \"b\"]"
                )
            })?
        } else {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        };
        Ok(items)
    }

    fn to_text(&self) -> String {
        if self.is_empty() { String::new() } else { format!("{self:?}") }
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Self::parse(text),
            Raw::List(items) => Ok(items.clone()),
        }
    }
}

/// What would be written as nothing is none: empty text, an empty list.
impl<T: SettingValue> SettingValue for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        Self::read(&Raw::Text(text.into()))
    }

    fn to_text(&self) -> String {
        self.as_ref().map(T::to_text).unwrap_or_default()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        if matches!(raw, Raw::Text(text) if text.is_empty()) {
            return Ok(None);
        }
        let value = T::read(raw)?;
        Ok((!value.to_text().is_empty()).then_some(value))
    }
}

/// Reads one of a few words.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
    Err(format!("{text:?} must be {}", words.join(" or ")))
}

/// Defines an enum whose values are words.
macro_rules! choice {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $( $(#[$doc:meta])+ $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$doc])+ $variant, )+ }

        impl $crate::settings::value::SettingValue for $name {
            fn parse(text: &str) -> Result<Self, String> {
                $crate::settings::value::choose(text, &[ $( ($word, Self::$variant) ),+ ])
            }

            fn to_text(&self) -> String {
                match self { $( Self::$variant => $word.into(), )+ }
            }
        }
    };
}
pub(super) use choice;

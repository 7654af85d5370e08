//! What the value of a setting can be, read from text.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use chrono_tz::Tz;

use super::nearest::nearest;

/// A value that is written as text, in the file and in the environment alike.
pub(super) trait Value: Sized {
    /// # Errors
    /// Says what about the text is wrong, and the mend. Secrets in it are left out.
    fn read(text: &str) -> Result<Self, String>;

    /// As one would write it; empty for none.
    fn show(&self) -> String;
}

/// # Errors
/// Names the value and the range, if it is outside.
pub(super) fn check_range<T: Value + PartialOrd>(
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), String> {
    if range.contains(value) {
        return Ok(());
    }
    let (least, most) = (range.start().show(), range.end().show());
    Err(format!("{} is out of range; it must be from {least} to {most}", value.show()))
}

impl Value for bool {
    fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("{text:?} must be true or false")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => { $(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| {
                    format!("{text:?} must be a whole number from 0 to {}", <$type>::MAX)
                })
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
whole_numbers!(u16, u32, usize);

/// Among the settings, a `u64` is a size in bytes.
impl Value for u64 {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be a size, such as \"64 MiB\" or a number of bytes");
        text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| wrong())
    }

    fn show(&self) -> String {
        ByteSize::b(*self).to_string().replace(".0 ", " ")
    }
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map_err(|_| {
            format!(
                "{text:?} must be a time span with its unit, such as \"1s\", \"250ms\" or \"7days\""
            )
        })
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl Value for Tz {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let near = nearest(text, names).unwrap_or("Europe/Copenhagen");
            format!("{text:?} is not a time zone; did you mean {near:?}?")
        })
    }

    fn show(&self) -> String {
        self.name().into()
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} must be an IP address and a port, such as \"127.0.0.1:9095\" or \"[::]:9095\"")
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty".into());
        }
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// Among the settings, a `String` names something of the broker's, which counts
/// such names in one byte.
impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => Err("the name is empty".into()),
            1..=255 => Ok(text.into()),
            length => Err(format!("the name has {length} bytes; AMQP allows 255")),
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// In the file an array, in the environment separated by commas.
impl Value for Vec<String> {
    fn read(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(String::read).collect()
    }

    fn show(&self) -> String {
        self.join(",")
    }
}

/// Empty text is none.
impl<T: Value> Value for Option<T> {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
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

        impl $crate::settings::value::Value for $name {
            fn read(text: &str) -> Result<Self, String> {
                $crate::settings::value::choose(text, &[ $( ($word, Self::$variant) ),+ ])
            }

            fn show(&self) -> String {
                match self { $( Self::$variant => $word.into(), )+ }
            }
        }
    };
}
pub(super) use choice;

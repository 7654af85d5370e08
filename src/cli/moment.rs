//! Points in time as people type them.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::event::Datetime;

/// A time, or `+` and how long from now.
///
/// # Errors
/// It is neither.
pub fn from_now(text: &str) -> Result<Datetime> {
    match text.strip_prefix('+') {
        Some(delay) => {
            let delay: Duration = humantime::parse_duration(delay).with_context(|| {
                format!("{text:?} is not a time from now such as +90s, +2h or \"+3days 4h\"")
            })?;
            Ok(Datetime::now().saturating_add(delay))
        }
        None => text.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_how_long_from_now() {
        assert_eq!(from_now("2030-01-01T00:00:00Z").unwrap().to_string(), "2030-01-01T00:00:00Z");
        assert!(from_now("+1h").unwrap() < from_now("+3days 4h").unwrap());
        for wrong in ["+soon", "1h", "2030-01-01T00:00:00"] {
            assert!(from_now(wrong).is_err(), "{wrong}");
        }
    }
}

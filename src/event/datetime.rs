//! Points in time, over the whole range that MO uses.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use chrono::{DateTime, FixedOffset, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{SHOWN, shortened};

/// A UTC instant in nanoseconds, from the year -262143 to 262142.
///
/// Python's largest date, which MO sends for "no date", lies well inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datetime(DateTime<Utc>);

impl Datetime {
    /// What MO sends as the time of a change without a date:
    /// `9999-12-31T23:59:59.999999+00:00`. Such an event is due at once.
    pub const NO_DATE: Datetime = Datetime(
        DateTime::from_timestamp(253_402_300_799, 999_999_000).expect("within chrono's range"),
    );

    /// The wall clock's time.
    #[expect(clippy::disallowed_methods, reason = "what `Clock` reads, and commands for people")]
    pub fn now() -> Self {
        Self(Utc::now())
    }

    /// `seconds` since the Unix epoch, and `nanoseconds` (below 10⁹) after them.
    /// None outside the range of the type.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Option<Self> {
        DateTime::from_timestamp(seconds, nanoseconds).map(Self)
    }

    /// Microseconds since the Unix epoch, rounded down: what the delay stores keep.
    pub fn unix_micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    /// The inverse of [`Datetime::unix_micros`]; the nearest end of the range if outside it.
    pub fn from_unix_micros(micros: i64) -> Self {
        let limit = if micros < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        Self(DateTime::from_timestamp_micros(micros).unwrap_or(limit))
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.timestamp()
    }

    /// Nanoseconds after [`Datetime::seconds`], below 10⁹.
    pub fn nanoseconds(self) -> u32 {
        self.0.timestamp_subsec_nanos()
    }

    /// This time and `delay` more; the end of the range if that lies beyond it.
    pub fn saturating_add(self, delay: Duration) -> Self {
        let later = chrono::Duration::from_std(delay)
            .ok()
            .and_then(|delay| self.0.checked_add_signed(delay));
        Self(later.unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// This time and `delay` less; the start of the range if that lies before it.
    pub fn saturating_sub(self, delay: Duration) -> Self {
        let earlier = chrono::Duration::from_std(delay)
            .ok()
            .and_then(|delay| self.0.checked_sub_signed(delay));
        Self(earlier.unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn saturating_since(self, earlier: Datetime) -> Duration {
        (self.0 - earlier.0).to_std().unwrap_or_default()
    }

    /// As it is displayed, but in the offset that the time `like` is written with; none if that has no
    /// offset, or one with seconds, which RFC 3339 cannot write.
    pub fn in_offset_of(self, like: &str) -> Option<String> {
        let offset = parse_offset(split_offset(like.trim()).1?)?;
        let offset = FixedOffset::east_opt(i32::try_from(offset).ok()?)?;
        let is_writable = offset.local_minus_utc() % 60 == 0;
        let local = self.0.naive_utc().checked_add_offset(offset).filter(|_| is_writable)?;
        let time = offset.from_local_datetime(&local).single()?;
        Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, like.ends_with(['Z', 'z'])))
    }

    /// Reads a time as MO and its forerunners write it: ISO 8601 with a `T` or a
    /// space, any fraction, and an offset of hours, minutes and (before standard
    /// time) seconds. One without an offset is local time in `naive_zone`; where
    /// the clocks go back it is the earlier of the two, where they skip it is
    /// read with the offset before the gap.
    ///
    /// # Errors
    /// Names the text that could not be read.
    pub fn parse(text: &str, naive_zone: Tz) -> anyhow::Result<Self> {
        // The common form, without the search for others.
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(without_leap_second(time.to_utc())));
        }
        let shown = shortened(text, SHOWN);
        let (civil, offset) = split_offset(text.trim());
        let civil = parse_civil(civil).with_context(|| {
            format!("time {shown:?} is not ISO 8601 such as 2024-07-01T00:00:00+02:00")
        })?;
        let utc = match offset {
            Some(offset) => {
                let seconds = parse_offset(offset)
                    .with_context(|| format!("time {shown:?} has an unreadable offset"))?;
                civil
                    .checked_sub_signed(chrono::Duration::seconds(seconds))
                    .map(|time| time.and_utc())
            }
            None => local_to_utc(civil, naive_zone),
        };
        Ok(Self(without_leap_second(
            utc.with_context(|| format!("time {shown:?} is out of range"))?,
        )))
    }
}

/// The second after a leap second: neither Unix time nor the delay stores have those.
/// chrono counts one as nanoseconds beyond the second before it.
fn without_leap_second(time: DateTime<Utc>) -> DateTime<Utc> {
    let nanoseconds = time.timestamp_subsec_nanos();
    match nanoseconds.checked_sub(1_000_000_000) {
        Some(nanoseconds) => {
            DateTime::from_timestamp(time.timestamp() + 1, nanoseconds).unwrap_or(time)
        }
        None => time,
    }
}

/// Splits a trailing `Z` or `±HH:MM[:SS]` off.
fn split_offset(text: &str) -> (&str, Option<&str>) {
    if let Some(civil) = text.strip_suffix(['Z', 'z']) {
        return (civil, Some("+00:00"));
    }
    // A sign after the date is an offset's; those before it separate the date.
    match text.char_indices().skip(10).find(|(_, c)| matches!(c, '+' | '-')) {
        Some((at, _)) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    }
}

fn parse_civil(text: &str) -> Option<NaiveDateTime> {
    const FORMATS: [&str; 4] =
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let text = text.trim_end();
    FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0))
}

/// Seconds east of UTC in `±HH`, `±HHMM`, `±HH:MM` or `±HH:MM:SS[.f]`.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = rest.split('.').next()?.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |two| two.parse::<i64>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    (hours < 24 && minutes < 60 && seconds < 60)
        .then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

fn local_to_utc(civil: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    zone.from_local_datetime(&civil)
        .earliest()
        .or_else(|| {
            // In the gap of a spring change: the offset that held before it.
            let before = civil.checked_sub_signed(chrono::Duration::hours(3))?;
            Some(zone.from_local_datetime(&before).earliest()? + chrono::Duration::hours(3))
        })
        .map(|time| time.with_timezone(&Utc))
}

impl fmt::Display for Datetime {
    /// RFC 3339 in UTC, as `2024-06-30T22:00:00Z`, with a fraction where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Datetime {
    type Err = anyhow::Error;

    /// Like [`Datetime::parse`], for times that people type: an offset is required.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if split_offset(text.trim()).1.is_none() {
            bail!("time {text:?} has no offset: write it as 2024-07-01T00:00:00+02:00 or with a Z");
        }
        Self::parse(text, Tz::UTC)
    }
}

impl From<SystemTime> for Datetime {
    fn from(time: SystemTime) -> Self {
        Self(time.into())
    }
}

impl From<Datetime> for SystemTime {
    /// Times that the system cannot hold become the Unix epoch.
    fn from(time: Datetime) -> Self {
        let nanoseconds = Duration::from_nanos(time.nanoseconds().into());
        let whole = Duration::from_secs(time.seconds().unsigned_abs());
        let second = if time.seconds() < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        second.and_then(|second| second.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
    }
}

impl Serialize for Datetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Datetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("{error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> String {
        Datetime::parse(text, Tz::Europe__Copenhagen).unwrap().to_string()
    }

    #[test]
    fn every_form_that_mo_sends() {
        assert_eq!(utc("2024-07-01T00:00:00+02:00"), "2024-06-30T22:00:00Z");
        assert_eq!(utc("2019-03-24T13:02:15.132025"), "2019-03-24T12:02:15.132025Z");
        assert_eq!(utc("2024-07-01 00:00:00+02:00"), "2024-06-30T22:00:00Z");
        assert_eq!(utc("1880-01-01T00:00:00+00:50:20"), "1879-12-31T23:09:40Z");
        assert_eq!(utc("9999-12-31T23:59:59.999999+00:00"), "9999-12-31T23:59:59.999999Z");
        assert_eq!(utc("2024-07-01T00:00:00Z"), "2024-07-01T00:00:00Z");
        assert_eq!(utc("2024-07-01T00:00:00-0130"), "2024-07-01T01:30:00Z");
        assert_eq!(utc("2024-07-01"), "2024-06-30T22:00:00Z");
    }

    #[test]
    fn a_time_is_written_in_the_offset_of_another() {
        let time: Datetime = "2027-01-23T08:00:00.5Z".parse().unwrap();
        let like = |other: &str| time.in_offset_of(other);
        let expected = Some("2027-01-23T09:00:00.500+01:00".to_owned());
        for other in ["2024-07-01T00:00:00+01:00", "2024-07-01 00:00+01", "2024-07-01T00+0100"] {
            assert_eq!(like(other), expected, "{other}");
        }
        assert_eq!(like("2024-07-01T00:00:00Z"), Some(time.to_string()));
        for other in ["2024-07-01T00:00:00", "1880-01-01T00:00:00+00:50:20", "", "noon"] {
            assert_eq!(like(other), None, "{other}");
        }
        assert_eq!(Datetime(DateTime::<Utc>::MAX_UTC).in_offset_of("2024-07-01T00+01"), None);
    }

    #[test]
    fn never_ends_is_what_mo_sends() {
        let parsed = Datetime::parse("9999-12-31T23:59:59.999999+00:00", Tz::UTC).unwrap();
        assert_eq!(parsed, Datetime::NO_DATE);
        // MO's local end of time lies a little beyond it in the west, and must not overflow.
        assert!(Datetime::parse("9999-12-31T23:59:59.999999-12:00", Tz::UTC).is_ok());
        assert!(Datetime::NO_DATE.saturating_add(Duration::MAX) > Datetime::NO_DATE);
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        assert_eq!(utc("2016-12-31T23:59:60Z"), "2017-01-01T00:00:00Z");
        assert_eq!(utc("2016-12-31T23:59:60.25+00:00"), "2017-01-01T00:00:00.250Z");
        // In the forms that chrono's own parser does not read, too.
        assert_eq!(utc("2017-01-01 00:59:60"), "2017-01-01T00:00:00Z");
        assert_eq!(utc("2016-12-31T23:59:60.5+0000"), "2017-01-01T00:00:00.500Z");
    }

    #[test]
    fn hours_that_the_clock_skips_or_repeats() {
        assert_eq!(utc("2024-03-31T02:30:00"), "2024-03-31T01:30:00Z");
        assert_eq!(utc("2024-10-27T02:30:00"), "2024-10-27T00:30:00Z");
    }

    #[test]
    fn unreadable_times_are_named() {
        for text in ["", "soon", "2024-13-01T00:00:00", "2024-07-01T00:00:00+25:00", "1719784800"] {
            let error = Datetime::parse(text, Tz::UTC).unwrap_err();
            assert!(format!("{error:#}").contains(&format!("{text:?}")), "{error:#}");
        }
    }

    #[test]
    fn before_1970_counts_nanoseconds_forward() {
        let time = Datetime::parse("1969-12-31T23:59:59.25Z", Tz::UTC).unwrap();
        assert_eq!((time.seconds(), time.nanoseconds()), (-1, 250_000_000));
        assert_eq!(Datetime::from(SystemTime::from(time)), time);
        assert_eq!(Datetime::from_unix_micros(time.unix_micros()), time);
    }
}

//! When to remind of a change.

use chrono::{DateTime, Days, NaiveDate, TimeZone};
use chrono_tz::Europe::Copenhagen;

/// The day on which a change takes effect in Denmark, and this hour of the day before, in seconds
/// since 1970. None if it takes effect at no time that can be told.
pub fn of(effective: i64, hour: u32) -> Option<(NaiveDate, i64)> {
    let day = DateTime::from_timestamp(effective, 0)?.with_timezone(&Copenhagen).date_naive();
    let before = day.checked_sub_days(Days::new(1))?.and_hms_opt(hour, 0, 0)?;
    Some((day, Copenhagen.from_local_datetime(&before).earliest()?.timestamp()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn eight_is_an_hour_earlier_in_summer() {
        let at = |effective| super::of(effective, 8).map(|(day, at)| (day.to_string(), at));
        assert_eq!(at(1_711_839_600), Some(("2024-03-31".to_owned(), 1_711_782_000)));
        assert_eq!(at(1_711_922_400), Some(("2024-04-01".to_owned(), 1_711_864_800)));
        assert_eq!(at(1_729_980_000), Some(("2024-10-27".to_owned(), 1_729_922_400)));
        assert_eq!(at(1_730_070_000), Some(("2024-10-28".to_owned(), 1_730_012_400)));
    }
}

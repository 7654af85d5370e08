//! Counting the messages.

use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};

use super::condition::{condition, with_filter};
use super::damaged::is_damage;
use crate::delay::record::{Census, Filter, MOST_OVERDUE, MOST_PROBLEMS, Overview};
use crate::event::Datetime;

/// How many messages match a filter, and how many of them are due in the ranges that end at
/// `bounds`, which rise.
pub fn count(connection: &mut Connection, filter: &Filter, bounds: &[i64]) -> Result<Census> {
    let snapshot = connection.transaction()?;
    let condition = condition(filter);
    let number = |extra: &str, from: Option<i64>, until: Option<i64>| {
        let sql = format!("SELECT count(*) FROM message WHERE {condition} {extra}");
        with_filter(&snapshot, &sql, filter, &[(":low", &from), (":high", &until)], |statement| {
            statement.raw_query().mapped(|row| row.get::<_, i64>(0)).next().unwrap_or(Ok(0))
        })
        .map(i64::unsigned_abs)
    };
    // SQLite counts a whole table much faster than a range of it. So the largest range is not
    // counted, but computed as the total without the others.
    let total = number("", None, None)?;
    let largest = probably_largest(&snapshot, bounds)?;
    let mut histogram = vec![0; bounds.len() + 1];
    for (range, count) in histogram.iter_mut().enumerate().filter(|(range, _)| *range != largest) {
        let low = range.checked_sub(1).map_or(i64::MIN, |before| bounds[before]);
        let high = bounds.get(range).copied().unwrap_or(i64::MAX);
        *count = number("AND due > :low AND due <= :high", Some(low), Some(high))?;
    }
    histogram[largest] = total.saturating_sub(histogram.iter().sum());
    let sql = format!("SELECT min(due) FROM message WHERE {condition} AND typeof(due) = 'integer'");
    let next = with_filter(&snapshot, &sql, filter, &[], |statement| {
        statement.raw_query().mapped(|row| row.get::<_, Option<i64>>(0)).next().unwrap_or(Ok(None))
    })?;
    Ok(Census { total, next: next.map(Datetime::from_unix_micros), histogram })
}

/// The range in which most messages of a sample are due.
fn probably_largest(connection: &Connection, bounds: &[i64]) -> Result<usize> {
    const SAMPLES: i64 = 64;
    let ids = "SELECT ifnull(min(id), 0), ifnull(max(id), 0) FROM message";
    let (first, last): (i64, i64) =
        connection.query_row(ids, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut sample =
        connection.prepare_cached("SELECT due FROM message WHERE id >= ? ORDER BY id LIMIT 1")?;
    let mut found = vec![0; bounds.len() + 1];
    for step in 0..SAMPLES {
        let id = first + (last - first) / SAMPLES * step;
        match sample.query_row([id], |row| row.get::<_, i64>(0)) {
            Ok(due) => found[bounds.partition_point(|bound| *bound < due)] += 1,
            // There is none, or it cannot be read.
            Err(error) if is_damage(&error) => {}
            Err(Error::InvalidColumnType(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((0..found.len()).max_by_key(|range| found[*range]).unwrap_or(0))
}

/// How many messages should have been sent by `time`, or were put off, and why.
pub fn overview(connection: &Connection, time: Datetime) -> Result<Overview> {
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM message WHERE {condition} LIMIT ?)");
        let values = params![time.unix_micros(), MOST_OVERDUE];
        connection
            .prepare_cached(&sql)?
            .query_row(values, |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    let overdue = count("due <= ?")? + count("attempts > 0 AND due > ?")?;
    let sql = "SELECT min(problem) FROM (SELECT problem FROM message WHERE attempts > 0 LIMIT ?)";
    let problem = match connection.prepare_cached(sql)?.query_row([MOST_PROBLEMS], problem) {
        Err(error) if is_damage(&error) => None,
        problem => problem?,
    };
    Ok(Overview { overdue, problem })
}

/// A problem, whatever somebody has written there.
fn problem(row: &Row<'_>) -> Result<Option<String>> {
    let text = row.get_ref(0)?.as_bytes_or_null()?;
    Ok(text.map(|text| String::from_utf8_lossy(text).into_owned()))
}

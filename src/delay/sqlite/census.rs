//! Counting the messages.

use rusqlite::{Connection, Error, Result, Row, params, params_from_iter};

use super::condition::{condition, with_filter};
use super::damaged::is_damage;
use crate::delay::record::{Census, Filter, MOST_OVERDUE, MOST_PROBLEMS, Overview};
use crate::event::Datetime;

/// How many messages match a filter, and how many of them are due in the ranges that end at
/// `bounds`, which rise.
pub fn count(connection: &mut Connection, filter: &Filter, bounds: &[i64]) -> Result<Census> {
    match *filter == Filter::default() {
        true => count_all(connection, bounds),
        false => count_some(connection, filter, bounds),
    }
}

/// Counts in one pass over the messages that match: there is no index of both what filters ask for
/// and due times, and to go through the messages for each range would take seconds.
fn count_some(connection: &Connection, filter: &Filter, bounds: &[i64]) -> Result<Census> {
    let mut census = Census { total: 0, next: None, histogram: vec![0; bounds.len() + 1] };
    let mut next = None;
    let sql = format!("SELECT due FROM message WHERE {}", condition(filter));
    with_filter(connection, &sql, filter, &[], |statement| {
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            // What cannot be read is to be looked at now.
            let due: i64 = row.get(0).unwrap_or_default();
            census.total += 1;
            census.histogram[bounds.partition_point(|bound| *bound < due)] += 1;
            next = Some(next.map_or(due, |next: i64| next.min(due)));
        }
        Ok(())
    })?;
    Ok(Census { next: next.map(Datetime::from_unix_micros), ..census })
}

/// Counts all messages by the index of due times.
fn count_all(connection: &mut Connection, bounds: &[i64]) -> Result<Census> {
    let snapshot = connection.transaction()?;
    let number = |extra: &str, range: &[i64]| -> Result<u64> {
        let sql = format!("SELECT count(*) FROM message {extra}");
        let count = snapshot
            .prepare_cached(&sql)?
            .query_row(params_from_iter(range), |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs)
    };
    // SQLite counts a whole table much faster than a range of it. So the largest range is not
    // counted, but computed as the total without the others.
    let total = number("", &[])?;
    let largest = probably_largest(&snapshot, bounds)?;
    let mut histogram = vec![0; bounds.len() + 1];
    for (range, count) in histogram.iter_mut().enumerate().filter(|(range, _)| *range != largest) {
        let low = range.checked_sub(1).map_or(i64::MIN, |before| bounds[before]);
        let high = bounds.get(range).copied().unwrap_or(i64::MAX);
        *count = number("WHERE due > ? AND due <= ?", &[low, high])?;
    }
    histogram[largest] = total.saturating_sub(histogram.iter().sum());
    let next = snapshot.query_row(
        "SELECT min(due) FROM message WHERE typeof(due) = 'integer'",
        [],
        |row| row.get::<_, Option<i64>>(0),
    )?;
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

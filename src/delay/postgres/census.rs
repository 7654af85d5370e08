//! Counting the messages.

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::condition::WhereClause;
use crate::delay::record::{Census, Filter, MOST_OVERDUE, MOST_PROBLEMS, Overview};
use crate::event::Datetime;

/// How many messages match a filter, and how many of them are due in the ranges that end at
/// `bounds`, which rise.
pub async fn count(client: &Client, filter: &Filter, bounds: &[i64]) -> Result<Census> {
    let clause = WhereClause::of(filter);
    let (sql, largest) = if *filter == Filter::default() {
        let largest = probably_largest(client, bounds).await?;
        (count_whole(bounds, largest), Some(largest))
    } else {
        (count_where(bounds, &clause.sql), None)
    };
    let row = client.query_typed_one(&sql, &clause.values()).await?;
    let number = |column: usize| row.get::<_, Option<i64>>(column).unwrap_or(0).unsigned_abs();
    let mut histogram: Vec<u64> = (0..=bounds.len()).map(|range| number(range + 2)).collect();
    let total = number(0);
    if let Some(largest) = largest {
        histogram[largest] = total.saturating_sub(histogram.iter().sum());
    }
    let next = row.get::<_, Option<i64>>(1).map(Datetime::from_unix_micros);
    Ok(Census { total, next, histogram })
}

/// Counts all messages. The total is counted by id, in the order of the table, which is
/// twice as fast as counting by due time, where every message is on another page. So the
/// largest range is not counted, but computed as the total without the others.
fn count_whole(bounds: &[i64], largest: usize) -> String {
    let counts = (0..=bounds.len()).map(|range| match range {
        range if range == largest => "NULL::bigint".to_owned(),
        _ => format!("(SELECT count(*) FROM mo_router_delayed WHERE {})", within(bounds, range)),
    });
    format!(
        "SELECT (SELECT count(*) FROM mo_router_delayed WHERE id > 0),
             (SELECT min(due) FROM mo_router_delayed), {}",
        counts.collect::<Vec<_>>().join(", ")
    )
}

/// Counts in one pass over the messages that match a condition.
fn count_where(bounds: &[i64], condition: &str) -> String {
    let counts = (0..=bounds.len())
        .map(|range| format!("count(*) FILTER (WHERE {})", within(bounds, range)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    format!("SELECT count(*), min(due), {counts} FROM mo_router_delayed WHERE {condition}")
}

/// The condition that a message is due in one of the ranges between the bounds.
fn within(bounds: &[i64], range: usize) -> String {
    let after = range.checked_sub(1).map(|before| format!("due > {}", bounds[before]));
    let until = bounds.get(range).map(|bound| format!("due <= {bound}"));
    after.into_iter().chain(until).collect::<Vec<_>>().join(" AND ")
}

/// The range in which most messages of a sample are due.
async fn probably_largest(client: &Client, bounds: &[i64]) -> Result<usize> {
    // The buckets of `width_bucket` include their lower bound, ours the upper one.
    let bounds: Vec<i64> = bounds.iter().map(|bound| bound.saturating_add(1)).collect();
    let row = client
        .query_typed_opt(
            "SELECT width_bucket(due, $1::bigint[])
             FROM (SELECT min(id) AS first, (max(id) - min(id)) / 64 AS step FROM mo_router_delayed) AS ids,
                 generate_series(0, 63) AS number,
                 LATERAL (SELECT due FROM mo_router_delayed WHERE id >= first + number * step
                          ORDER BY id LIMIT 1) AS sample
             GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
            &[(&bounds, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(row.map_or(0, |row| usize::try_from(row.get::<_, i32>(0)).unwrap_or_default()))
}

/// How many messages should have been sent by `time`, or were put off, and why.
pub async fn overview(client: &Client, time: Datetime) -> Result<Overview> {
    let count = |condition: &str| {
        format!(
            "(SELECT count(*) FROM (
                 SELECT FROM mo_router_delayed WHERE {condition} LIMIT {MOST_OVERDUE}) AS counted)"
        )
    };
    let sql = format!(
        "SELECT {} + {}, (SELECT min(problem) FROM (
             SELECT problem FROM mo_router_delayed WHERE attempts > 0 LIMIT {MOST_PROBLEMS}) AS put_off)",
        count("due <= $1"),
        count("attempts > 0 AND due > $1"),
    );
    let row = client.query_typed_one(&sql, &[(&time.unix_micros(), Type::INT8)]).await?;
    Ok(Overview { overdue: row.get::<_, i64>(0).unsigned_abs(), problem: row.get(1) })
}

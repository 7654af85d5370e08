//! Counting the messages.

use anyhow::Result;
use tokio_postgres::Client;

use super::sql::Condition;
use crate::delay::record::{self, Census, Filter};
use crate::event::Datetime;

/// How many there are and when they are due.
pub async fn count(client: &Client, filter: &Filter, now: Datetime) -> Result<Census> {
    let bounds = record::bounds(now);
    let condition = Condition::of(filter);
    let (sql, longest) = if *filter == Filter::default() {
        let longest = probably_longest(client, &bounds).await?;
        (count_whole(&bounds, longest), Some(longest))
    } else {
        (count_where(&bounds, &condition.sql), None)
    };
    let row = client.query_one(&sql, &condition.values()).await?;
    let number = |column: usize| row.get::<_, Option<i64>>(column).unwrap_or(0).unsigned_abs();
    let mut histogram: Vec<u64> = (0..=bounds.len()).map(|range| number(range + 2)).collect();
    let total = number(0);
    if let Some(longest) = longest {
        histogram[longest] = total.saturating_sub(histogram.iter().sum());
    }
    let next = row.get::<_, Option<i64>>(1).map(Datetime::from_unix_micros);
    Ok(Census { total, next, histogram })
}

/// Counts everything. The whole is counted along the ids, which is the order of the
/// table, and so twice as fast as in due order, where the next message is in another
/// place each time. Hence the longest range is not counted: it is what the others leave.
fn count_whole(bounds: &[i64], longest: usize) -> String {
    let counts = (0..=bounds.len()).map(|range| match range {
        range if range == longest => "NULL::bigint".to_owned(),
        _ => format!("(SELECT count(*) FROM mo_router_delayed WHERE {})", within(bounds, range)),
    });
    format!(
        "SELECT (SELECT count(*) FROM mo_router_delayed WHERE id > 0),
             (SELECT min(due) FROM mo_router_delayed), {}",
        counts.collect::<Vec<_>>().join(", ")
    )
}

/// Counts in one pass, whichever way the server finds the messages.
fn count_where(bounds: &[i64], condition: &str) -> String {
    let counts = (0..=bounds.len())
        .map(|range| format!("count(*) FILTER (WHERE {})", within(bounds, range)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    format!("SELECT count(*), min(due), {counts} FROM mo_router_delayed WHERE {condition}")
}

/// That a message is due in one of the ranges between the bounds.
fn within(bounds: &[i64], range: usize) -> String {
    let after = range.checked_sub(1).map(|before| format!("due > {}", bounds[before]));
    let until = bounds.get(range).map(|bound| format!("due <= {bound}"));
    after.into_iter().chain(until).collect::<Vec<_>>().join(" AND ")
}

/// The range between the bounds that most of a sample of messages are due in.
async fn probably_longest(client: &Client, bounds: &[i64]) -> Result<usize> {
    // A bucket of `width_bucket` begins with its bound; ours end with theirs.
    let bounds: Vec<i64> = bounds.iter().map(|bound| bound.saturating_add(1)).collect();
    let row = client
        .query_opt(
            "SELECT width_bucket(due, $1::bigint[])
             FROM (SELECT min(id) AS first, (max(id) - min(id)) / 64 AS step FROM mo_router_delayed) AS ids,
                 generate_series(0, 63) AS number,
                 LATERAL (SELECT due FROM mo_router_delayed WHERE id >= first + number * step
                          ORDER BY id LIMIT 1) AS sample
             GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
            &[&bounds],
        )
        .await?;
    Ok(row.map_or(0, |row| usize::try_from(row.get::<_, i32>(0)).unwrap_or_default()))
}

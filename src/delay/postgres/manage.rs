//! What people do with the messages: list, correct, cancel. Each change is one
//! statement: whoever is interrupted has made it or has not.

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::condition::WhereClause;
use super::rows::{COLUMNS, HEAD_COLUMNS, Parameter};
use super::{damaged, statements};
use crate::delay::record::{Changed, Filter, Stored};
use crate::event::Datetime;

/// Up to `limit` messages in due order, starting after the one with the id `after`; without
/// their bodies.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Stored>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut clause = WhereClause::of(filter);
    if let Some(after) = after {
        let number = clause.value(after, Type::INT8);
        clause.term(&format!(
            "(due, id) > ((SELECT due FROM mo_router_delayed WHERE id = {number}), {number})"
        ));
    }
    let rest =
        format!("FROM mo_router_delayed WHERE {} ORDER BY due, id LIMIT {limit}", clause.sql);
    damaged::select(client, HEAD_COLUMNS, &rest, &clause.values()).await
}

/// The message with this id.
pub async fn show(client: &Client, id: i64) -> Result<Option<Stored>> {
    let rest = "FROM mo_router_delayed WHERE id = $1";
    Ok(damaged::select(client, COLUMNS, rest, &[(&id, Type::INT8)]).await?.pop())
}

/// Up to `limit` messages with ids above `after`, in the order of their ids.
pub async fn page(client: &Client, after: i64, limit: i64) -> Result<Vec<Stored>> {
    let rest = format!("FROM mo_router_delayed WHERE id > $1 ORDER BY id LIMIT {limit}");
    damaged::select(client, COLUMNS, &rest, &[(&after, Type::INT8)]).await
}

/// Removes messages that are not in flight.
pub async fn cancel(client: &Client, ids: &[i64]) -> Result<Changed> {
    change(client, &statements::cancel(), &[(&ids, Type::INT8_ARRAY)]).await
}

/// Changes the due time of messages that are not in flight, and the header that tells it.
pub async fn reschedule(client: &Client, ids: &[i64], due: Datetime) -> Result<Changed> {
    let (due, text) = (due.unix_micros(), due.to_string());
    let values = [(&ids as _, Type::INT8_ARRAY), (&due as _, Type::INT8), (&text as _, Type::TEXT)];
    change(client, &statements::reschedule(), &values).await
}

async fn change(client: &Client, sql: &str, values: &[Parameter<'_>]) -> Result<Changed> {
    let mut changed = Changed::default();
    for row in client.query_typed(sql, values).await? {
        let list = if row.get(1) { &mut changed.done } else { &mut changed.in_flight };
        list.push(row.get(0));
    }
    Ok(changed)
}

/// Ends pauses that begin later than `latest`: a clock that was wrong has made them. Leaves
/// what is claimed alone. Returns how many there were.
pub async fn end_pauses(client: &Client, latest: Datetime, now: Datetime) -> Result<u64> {
    let sql = "UPDATE mo_router_delayed SET due = $2 WHERE id IN (
                   SELECT id FROM mo_router_delayed WHERE attempts > 0 AND due > $1
                   FOR UPDATE SKIP LOCKED)";
    let (latest, now) = (latest.unix_micros(), now.unix_micros());
    let values = [(&latest as _, Type::INT8), (&now as _, Type::INT8)];
    Ok(client.execute_typed(sql, &values).await?)
}

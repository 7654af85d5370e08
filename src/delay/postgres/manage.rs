//! What people do with the messages: list, correct, cancel, import.
//!
//! All changes are made in transactions: whoever is interrupted has changed nothing.

use std::collections::HashSet;

use anyhow::Result;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::condition::WhereClause;
use super::connection::announce;
use super::rows::{COLUMNS, Columns, HEAD_COLUMNS, Parameter, read};
use super::statements;
use crate::delay::record::{Changed, Filter, Import, Stored};
use crate::event::Datetime;

/// Adds those messages that were never imported before. Returns how many.
pub async fn import(client: &mut Client, messages: &[Import]) -> Result<usize> {
    let transaction = client.transaction().await?;
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let new = transaction
        .query_typed(
            "INSERT INTO mo_router_imported SELECT * FROM unnest($1::text[])
             ON CONFLICT DO NOTHING RETURNING message_id",
            &[(&ids, Type::TEXT_ARRAY)],
        )
        .await?;
    let mut new: HashSet<String> = new.iter().map(|row| row.get(0)).collect();
    let added = new.len();
    let fresh = messages.iter().filter(|message| new.remove(&message.id));
    let columns = Columns::of(fresh.map(|message| &message.delayed))?;
    transaction.execute_typed(&statements::import(), &columns.values()).await?;
    announce(&transaction).await?;
    transaction.commit().await?;
    Ok(added)
}

/// How many of these messages were imported before.
pub async fn count_imported(client: &Client, messages: &[Import]) -> Result<usize> {
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let sql = "SELECT count(*) FROM mo_router_imported WHERE message_id = ANY ($1)";
    let row = client.query_typed_one(sql, &[(&ids, Type::TEXT_ARRAY)]).await?;
    Ok(usize::try_from(row.get::<_, i64>(0))?)
}

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
    let sql = format!(
        "SELECT {HEAD_COLUMNS} FROM mo_router_delayed WHERE {} ORDER BY due, id LIMIT {limit}",
        clause.sql
    );
    client.query_typed(&sql, &clause.values()).await?.iter().map(read).collect()
}

/// The message with this id.
pub async fn show(client: &Client, id: i64) -> Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM mo_router_delayed WHERE id = $1");
    client.query_typed_opt(&sql, &[(&id, Type::INT8)]).await?.as_ref().map(read).transpose()
}

/// Up to `limit` messages with ids above `after`, in the order of their ids.
pub async fn page(client: &Client, after: i64, limit: i64) -> Result<Vec<Stored>> {
    let sql =
        format!("SELECT {COLUMNS} FROM mo_router_delayed WHERE id > $1 ORDER BY id LIMIT {limit}");
    client.query_typed(&sql, &[(&after, Type::INT8)]).await?.iter().map(read).collect()
}

/// Those of the ids that no router has claimed, locked. A claim's rows are not waited for:
/// it can take as long as the broker does.
const FREE: &str = "(SELECT id FROM mo_router_delayed WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED)";

/// Removes messages that are not in flight.
pub async fn cancel(client: &mut Client, ids: &[i64]) -> Result<Changed> {
    let sql = format!("DELETE FROM mo_router_delayed WHERE id IN {FREE} RETURNING id");
    each(client, &sql, ids, &[]).await
}

/// Changes the due time of messages that are not in flight.
pub async fn reschedule(client: &mut Client, ids: &[i64], due: Datetime) -> Result<Changed> {
    let sql = format!(
        "UPDATE mo_router_delayed SET due = $2, attempts = 0, problem = NULL
         WHERE id IN {FREE} RETURNING id"
    );
    each(client, &sql, ids, &[(&due.unix_micros(), Type::INT8)]).await
}

async fn each(
    client: &mut Client,
    sql: &str,
    ids: &[i64],
    more: &[Parameter<'_>],
) -> Result<Changed> {
    let transaction = client.transaction().await?;
    // Asked first: what a claim puts back in between counts as in flight, and is asked again.
    let there = "SELECT id FROM mo_router_delayed WHERE id = ANY ($1)";
    let named: [Parameter<'_>; 1] = [(&ids, Type::INT8_ARRAY)];
    let there = ids_of(&transaction, there, &named).await?;
    let done = ids_of(&transaction, sql, &[&named[..], more].concat()).await?;
    announce(&transaction).await?;
    transaction.commit().await?;
    let in_flight = there.into_iter().filter(|id| !done.contains(id)).collect();
    Ok(Changed { done, in_flight })
}

async fn ids_of(
    transaction: &Transaction<'_>,
    sql: &str,
    values: &[Parameter<'_>],
) -> Result<Vec<i64>> {
    let rows = transaction.query_typed(sql, values).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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

//! What people do with the messages: list, correct, cancel, import.

use std::collections::HashSet;

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::condition::WhereClause;
use super::rows::{COLUMNS, Columns, read};
use super::statements::insert;
use crate::delay::record::{Filter, Stored};
use crate::event::{Datetime, Delayed};

/// Adds those messages whose `message_id` was never imported before. Returns how many.
pub async fn import(client: &mut Client, messages: &[Delayed]) -> Result<usize> {
    let transaction = client.transaction().await?;
    let ids: Vec<&str> = messages.iter().map(|message| message.message.id()).collect();
    let new = transaction
        .query(
            "INSERT INTO mo_router_imported SELECT * FROM unnest($1::text[])
             ON CONFLICT DO NOTHING RETURNING message_id",
            &[&ids],
        )
        .await?;
    let new: HashSet<String> = new.iter().map(|row| row.get(0)).collect();
    let fresh = messages.iter().filter(|message| new.contains(message.message.id()));
    let columns = Columns::of(fresh)?;
    transaction.execute(&insert(""), &columns.values()).await?;
    transaction.commit().await?;
    Ok(new.len())
}

/// How many of these messages were imported before.
pub async fn count_imported(client: &Client, messages: &[Delayed]) -> Result<usize> {
    let ids: Vec<&str> = messages.iter().map(|message| message.message.id()).collect();
    let sql = "SELECT count(*) FROM mo_router_imported WHERE message_id = ANY ($1)";
    Ok(usize::try_from(client.query_one(sql, &[&ids]).await?.get::<_, i64>(0))?)
}

/// Up to `limit` messages in due order, starting after the one with the id `after`.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Stored>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut clause = WhereClause::of(filter);
    if let Some(after) = after {
        let number = clause.value(after);
        clause.term(&format!(
            "(due, id) > ((SELECT due FROM mo_router_delayed WHERE id = {number}), {number})"
        ));
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM mo_router_delayed WHERE {} ORDER BY due, id LIMIT {limit}",
        clause.sql
    );
    client.query(&sql, &clause.values()).await?.iter().map(read).collect()
}

/// The message with this id.
pub async fn show(client: &Client, id: i64) -> Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM mo_router_delayed WHERE id = $1");
    client.query_opt(&sql, &[&id]).await?.as_ref().map(read).transpose()
}

/// Removes messages. Returns the ids of those that were still there.
///
/// Waits for those that are in flight.
pub async fn cancel(client: &Client, ids: &[i64]) -> Result<Vec<i64>> {
    each(client, "DELETE FROM mo_router_delayed WHERE id = ANY ($1) RETURNING id", ids, &[]).await
}

/// Changes the due time of messages. Returns the ids of those that were still there.
pub async fn reschedule(client: &Client, ids: &[i64], due: Datetime) -> Result<Vec<i64>> {
    let sql = "UPDATE mo_router_delayed SET due = $2, attempts = 0, problem = NULL
               WHERE id = ANY ($1) RETURNING id";
    each(client, sql, ids, &[&due.unix_micros()]).await
}

async fn each(
    client: &Client,
    sql: &str,
    ids: &[i64],
    more: &[&(dyn ToSql + Sync)],
) -> Result<Vec<i64>> {
    let mut changed: Vec<i64> = Vec::new();
    // A statement that waited for a message in flight does not find it if it was put back:
    // that is a new row with the same id.
    for _ in 0..2 {
        let missing: Vec<i64> = ids.iter().filter(|id| !changed.contains(id)).copied().collect();
        if missing.is_empty() {
            break;
        }
        let values: [&(dyn ToSql + Sync); 1] = [&missing];
        let rows = client.query(sql, &[&values[..], more].concat()).await?;
        changed.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
    }
    Ok(changed)
}

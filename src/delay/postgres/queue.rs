//! What a router does with the messages: adds, claims and settles them.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::rows::{Columns, read, text};
use super::statements::Statements;
use crate::delay::BYTES_TOGETHER;
use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed};

/// Adds messages in this order. One with a key replaces the message that has that key.
/// Returns the positions of those that were not added because that message is in flight.
pub async fn accept(
    client: &Client,
    statements: &Statements,
    messages: &[Delayed],
) -> Result<Vec<usize>> {
    let columns = Columns::of(last_of_each_key(messages).into_iter())?;
    if columns.key.iter().all(Option::is_none) {
        client.execute(&statements.accept, &columns.values()).await?;
        return Ok(Vec::new());
    }
    let rows = client.query(&statements.accept_keyed, &columns.values()).await?;
    let added: HashSet<(&str, Option<&str>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let left_out = |message: &Delayed| {
        let key = message.key.as_deref().map(text);
        key.is_some() && !added.contains(&(&text(&message.plugin), key.as_deref()))
    };
    let positions = messages.iter().enumerate().filter(|(_, message)| left_out(message));
    Ok(positions.map(|(position, _)| position).collect())
}

/// The last message of each key, as keys are stored, because one statement cannot change a
/// row twice. Messages with keys are sorted by key, so that routers that write at the same
/// time lock rows in the same order and do not deadlock.
fn last_of_each_key(messages: &[Delayed]) -> Vec<&Delayed> {
    let mut last = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        if let Some(key) = &message.key {
            last.insert((text(&message.plugin), text(key)), index);
        }
    }
    let mut keyed: Vec<_> = last.into_iter().collect();
    keyed.sort_unstable();
    let keyless = messages.iter().filter(|message| message.key.is_none());
    keyless.chain(keyed.into_iter().map(|(_, index)| &messages[index])).collect()
}

/// Begins a transaction that takes out up to `limit` due messages, in due order, of at most
/// [`BYTES_TOGETHER`]. Returns whether there may be more.
pub async fn claim(
    client: &Client,
    statements: &Statements,
    now: Datetime,
    limit: usize,
) -> Result<(Vec<Stored>, bool)> {
    let mut limit = limit;
    loop {
        let rows = claim_rows(client, statements, now, limit).await?;
        let bytes: usize = rows.iter().map(|row| row.get::<_, &[u8]>(9).len()).sum();
        let more = rows.len() == limit;
        if more || bytes < BYTES_TOGETHER {
            let mut messages = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
            messages.sort_unstable_by_key(|message| (message.delayed.due, message.id));
            return Ok((messages, more));
        }
        // Rows that were locked but did not fit would be sent after later ones.
        client.batch_execute("ROLLBACK").await?;
        limit = rows.len();
    }
}

async fn claim_rows(
    client: &Client,
    statements: &Statements,
    now: Datetime,
    limit: usize,
) -> Result<Vec<Row>> {
    // If the server loses a removal in a crash, the message is sent again, which does not
    // justify a disk flush. The transaction is idle while messages are being published.
    let begin = client.batch_execute(
        "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = 0",
    );
    let (now, limit) = (now.unix_micros(), i64::try_from(limit)?);
    let values: [&(dyn ToSql + Sync); 2] = [&now, &limit];
    let ((), rows) = tokio::try_join!(begin, client.query(&statements.claim, &values))?;
    Ok(rows)
}

/// When the first message after `now` is due.
pub async fn next(
    client: &Client,
    statements: &Statements,
    now: Datetime,
) -> Result<Option<Datetime>> {
    let row = client.query_one(&statements.next, &[&now.unix_micros()]).await?;
    Ok(row.get::<_, Option<i64>>(0).map(Datetime::from_unix_micros))
}

/// Puts those messages of a claim back that could not be sent, and commits its transaction.
pub async fn settle(client: &Client, statements: &Statements, put_off: &[Stored]) -> Result<()> {
    if !put_off.is_empty() {
        let mut columns = Columns::of(put_off.iter().map(|message| &message.delayed))?;
        let ids: Vec<i64> = put_off.iter().map(|message| message.id).collect();
        let attempts =
            put_off.iter().map(|message| i32::try_from(message.attempts).unwrap_or(i32::MAX));
        let attempts: Vec<i32> = attempts.collect();
        let problems: Vec<_> =
            put_off.iter().map(|message| message.problem.as_deref().map(text)).collect();
        for (properties, message) in columns.properties.iter_mut().zip(put_off) {
            if let Some(unreadable) = &message.unreadable {
                properties.clone_from(unreadable);
            }
        }
        let more: [&(dyn ToSql + Sync); 3] = [&ids, &attempts, &problems];
        client.execute(&statements.put_back, &[&columns.values()[..], &more].concat()).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

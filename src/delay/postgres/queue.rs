//! What a router does with the messages: adds, claims and settles them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::damaged::{is_damage, words};
use super::rows::{Columns, Parameter, read, text};
use super::statements;
use crate::delay::BYTES_TOGETHER;
use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed};

/// What became of messages.
pub struct Accepted {
    /// The positions of those that were not added because what they replace is in flight.
    pub left_out: Vec<usize>,
    /// When the server was started that has them, in microseconds since 1970.
    pub server: i64,
}

/// Adds messages in this order. One with a key replaces the message that has that key.
pub async fn accept(client: &Client, messages: &[Delayed]) -> Result<Accepted> {
    let columns = Columns::of(last_of_each_key(messages).into_iter())?;
    if columns.key.iter().all(Option::is_none) {
        let row = client.query_typed_one(&statements::accept(), &columns.values()).await?;
        return Ok(Accepted { left_out: Vec::new(), server: row.get(0) });
    }
    let rows = client.query_typed(&statements::accept_keyed(), &columns.values()).await?;
    let server = rows.first().context("the database does not say since when it runs")?.get(0);
    let added: HashSet<(Option<&str>, Option<&str>)> =
        rows.iter().map(|row| (row.get(1), row.get(2))).collect();
    let left_out = |message: &Delayed| {
        let key = message.key.as_deref().map(text);
        key.is_some() && !added.contains(&(Some(&text(&message.plugin)), key.as_deref()))
    };
    let positions = messages.iter().enumerate().filter(|(_, message)| left_out(message));
    Ok(Accepted { left_out: positions.map(|(position, _)| position).collect(), server })
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

/// What a claim took out.
pub struct Claim {
    /// The messages, in due order.
    pub messages: Vec<Stored>,
    /// When to claim again; none if no message waits.
    pub next: Option<Datetime>,
    /// The database's time, if it is not yet what the caller took it for.
    pub behind: Option<Datetime>,
}

/// The error of a claim whose first message the server cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the message {id}: {reason}")]
pub struct Unreadable {
    pub id: i64,
    /// In the server's words.
    pub reason: String,
}

/// Begins a transaction that takes out up to `limit` due messages, in due order, of at most
/// [`BYTES_TOGETHER`]; none of `left_alone`.
///
/// # Errors
/// [`Unreadable`]; or the database's.
pub async fn claim(
    client: &Client,
    now: Datetime,
    limit: usize,
    left_alone: &[i64],
) -> Result<Claim> {
    let mut limit = limit;
    loop {
        let rows = match claim_rows(client, now, limit, left_alone).await {
            // One of them cannot be read. If it is not the first, those before it leave.
            Err(error) if is_damage(&error) => {
                client.batch_execute("ROLLBACK").await?;
                if limit > 1 {
                    limit = limit.div_ceil(2);
                    continue;
                }
                let now = now.unix_micros();
                let values = claim_values(&now, &1, &left_alone);
                let Some(row) = client.query_typed_opt(&statements::first_id(), &values).await?
                else {
                    return Err(error);
                };
                return Err(Unreadable { id: row.try_get(0)?, reason: words(&error) }.into());
            }
            rows => rows?,
        };
        let bytes: usize =
            rows.iter().filter_map(|row| row.try_get::<_, &[u8]>(9).ok()).map(<[u8]>::len).sum();
        let more = rows.len() == limit;
        if more || bytes < BYTES_TOGETHER {
            let (next, behind) = if more { (Some(now), None) } else { next(client, now).await? };
            let mut messages = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
            messages.sort_unstable_by_key(|message| (message.delayed.due, message.id));
            return Ok(Claim { messages, next, behind });
        }
        // Rows that were locked but did not fit would be sent after later ones.
        client.batch_execute("ROLLBACK").await?;
        limit = rows.len();
    }
}

async fn claim_rows(
    client: &Client,
    now: Datetime,
    limit: usize,
    left_alone: &[i64],
) -> Result<Vec<Row>> {
    // Awaited: what is deleted without this transaction is lost.
    client.batch_execute(statements::BEGIN_CLAIM).await?;
    let (now, limit) = (now.unix_micros(), i64::try_from(limit)?);
    let values = claim_values(&now, &limit, &left_alone);
    Ok(client.query_typed(&statements::claim(), &values).await?)
}

fn claim_values<'a>(now: &'a i64, limit: &'a i64, left_alone: &'a &[i64]) -> [Parameter<'a>; 3] {
    [(now, Type::INT8), (limit, Type::INT8), (left_alone, Type::INT8_ARRAY)]
}

/// When the first of the messages that a claim at `now` has not seen is due; and the database's
/// time, if it is not yet `now`.
async fn next(client: &Client, now: Datetime) -> Result<(Option<Datetime>, Option<Datetime>)> {
    let values = [(&now.unix_micros() as _, Type::INT8)];
    let row = client.query_typed_one(&statements::next(), &values).await?;
    ensure!(
        row.get::<_, bool>(1),
        "the database has ended a transaction that was just begun: a pooler must not share \
         connections between statements (pool_mode = transaction or session)"
    );
    let next = row.get::<_, Option<i64>>(0).map(Datetime::from_unix_micros);
    let clock = Datetime::from_unix_micros(row.get(2));
    Ok((next, Some(clock).filter(|clock| *clock < now)))
}

/// Puts those messages of a claim back that could not be sent, and commits its transaction.
pub async fn settle(client: &Client, put_off: &[Stored]) -> Result<()> {
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
        let mut values = columns.values().to_vec();
        values.push((&ids, Type::INT8_ARRAY));
        values.push((&attempts, Type::INT4_ARRAY));
        values.push((&problems, Type::TEXT_ARRAY));
        client.execute_typed(&statements::put_back(), &values).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

/// Removes messages that were put off and have been sent all the same.
pub async fn remove(client: &Client, ids: &[i64]) -> Result<()> {
    client.execute_typed(statements::REMOVE, &[(&ids, Type::INT8_ARRAY)]).await?;
    Ok(())
}

/// Lets ids that are given out from now on be new ones. Without the right to look at where they
/// come from, the router goes on: new rows need no such right, and rows that were copied without
/// their sequence are rare.
pub async fn advance_ids(client: &Client) -> Result<()> {
    let advanced = client.query_typed_one(statements::ADVANCE_IDS, &[]).await;
    match advanced {
        Ok(row) => {
            let advanced: i64 = row.get(0);
            if advanced > 0 {
                tracing::warn!(
                    "the ids of the delay store were behind its rows by {advanced}, as after a copy without its \
                     sequence: corrected"
                );
            }
            Ok(())
        }
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            tracing::warn!(
                "cannot see whether the ids of the delay store are ahead of its rows, as they are unless it \
                 is a copy ({error}): GRANT USAGE ON SEQUENCE mo_router_delayed_id_seq"
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

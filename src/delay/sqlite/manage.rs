//! What people do with the messages: list, correct, cancel, import.

use rusqlite::{Connection, OptionalExtension, Result, named_params};

use super::condition::{condition, with_filter};
use super::queue::insert_all;
use super::rows::{COLUMNS, read};
use crate::delay::record::{Filter, Stored};
use crate::event::{Datetime, Delayed};

/// Up to `limit` messages in due order, starting after the one with the id `after`.
pub fn list(
    connection: &Connection,
    filter: &Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM message WHERE {} {} ORDER BY due, id LIMIT :limit",
        condition(filter),
        if after.is_some() {
            "AND (due, id) > ((SELECT due FROM message WHERE id = :after), :after)"
        } else {
            ""
        },
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    with_filter(connection, &sql, filter, &[(":after", &after), (":limit", &limit)], |statement| {
        statement.raw_query().mapped(read).collect()
    })
}

/// The message with this id.
pub fn show(connection: &Connection, id: i64) -> Result<Option<Stored>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM message WHERE id = ?"))?
        .query_row([id], read)
        .optional()
}

/// Removes messages. Returns the ids of those that were still there.
pub fn cancel(connection: &mut Connection, ids: &[i64]) -> Result<Vec<i64>> {
    each(connection, "DELETE FROM message WHERE id = :id", None, ids)
}

/// Changes the due time of messages. Returns the ids of those that were still there.
pub fn reschedule(connection: &mut Connection, ids: &[i64], due: Datetime) -> Result<Vec<i64>> {
    let sql = "UPDATE message SET due = :due, attempts = 0, problem = NULL WHERE id = :id";
    each(connection, sql, Some(due.unix_micros()), ids)
}

fn each(connection: &mut Connection, sql: &str, due: Option<i64>, ids: &[i64]) -> Result<Vec<i64>> {
    let transaction = connection.transaction()?;
    let mut changed = Vec::new();
    for &id in ids {
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = match due {
            Some(due) => statement.execute(named_params! {":id": id, ":due": due})?,
            None => statement.execute(named_params! {":id": id})?,
        };
        if rows == 1 {
            changed.push(id);
        }
    }
    transaction.commit()?;
    Ok(changed)
}

/// Adds those messages whose `message_id` was never imported before. Returns how many.
pub fn import(connection: &mut Connection, messages: &[Delayed]) -> Result<usize> {
    let transaction = connection.transaction()?;
    let mut fresh = Vec::with_capacity(messages.len());
    {
        let mut record = transaction.prepare_cached("INSERT OR IGNORE INTO imported VALUES (?)")?;
        for message in messages {
            if record.execute([message.message.id()])? == 1 {
                fresh.push(message);
            }
        }
    }
    insert_all(&transaction, fresh.iter().copied())?;
    transaction.commit()?;
    Ok(fresh.len())
}

/// How many of these messages were imported before.
pub fn count_imported(connection: &Connection, messages: &[Delayed]) -> Result<usize> {
    let mut find = connection.prepare_cached("SELECT 1 FROM imported WHERE message_id = ?")?;
    let mut found = 0;
    for message in messages {
        found += usize::from(find.exists([message.message.id()])?);
    }
    Ok(found)
}

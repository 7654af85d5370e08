//! What people do with the messages: list, correct, cancel, import, back up.

use std::path::Path;

use rusqlite::{
    Connection, OptionalExtension, Result, ToSql, TransactionBehavior, named_params, params,
};

use super::condition::{condition, with_filter};
use super::queue::is_damage;
use super::rows::{COLUMNS, HEAD_COLUMNS, INSERT, insert, read, unreadable};
use crate::delay::record::{Changed, Filter, Import, Stored};
use crate::event::{Datetime, headers};

/// Up to `limit` messages in due order, starting after the one with the id `after`; without
/// their bodies.
pub fn list(
    connection: &Connection,
    filter: &Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Stored>> {
    let sql = format!(
        "SELECT id FROM message WHERE {} {} ORDER BY due, id LIMIT :limit",
        condition(filter),
        if after.is_some() {
            "AND (due, id) > ((SELECT due FROM message WHERE id = :after), :after)"
        } else {
            ""
        },
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let more: [(&str, &dyn ToSql); 2] = [(":after", &after), (":limit", &limit)];
    let ids: Vec<i64> = with_filter(connection, &sql, filter, &more, |statement| {
        statement.raw_query().mapped(|row| row.get(0)).collect()
    })?;
    // One by one, so that a damaged row hides no other.
    let one = format!("SELECT {HEAD_COLUMNS} FROM message WHERE id = ?");
    let mut one = connection.prepare_cached(&one)?;
    let heads = ids.into_iter().map(|id| match one.query_row([id], read) {
        Err(error) if is_damage(&error) => Ok(unreadable(id, &error)),
        head => head,
    });
    heads.collect()
}

/// The message with this id.
pub fn show(connection: &Connection, id: i64) -> Result<Option<Stored>> {
    let mut one =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM message WHERE id = ?"))?;
    match one.query_row([id], read).optional() {
        Err(error) if is_damage(&error) => Ok(Some(unreadable(id, &error))),
        shown => shown,
    }
}

/// Up to `limit` messages with ids above `after`, in the order of their ids.
pub fn page(connection: &Connection, after: i64, limit: i64) -> Result<Vec<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM message WHERE id > ? ORDER BY id LIMIT ?");
    connection.prepare_cached(&sql)?.query_map([after, limit], read)?.collect()
}

/// Removes messages. Those in flight are left alone if `claimed`: a router has claimed what
/// is noted as in flight.
pub fn cancel(connection: &mut Connection, ids: &[i64], claimed: bool) -> Result<Changed> {
    each(connection, "DELETE FROM message WHERE id = :id", None, ids, claimed)
}

/// Changes the due time of messages, and the header that tells it, as [`cancel`] removes them.
pub fn reschedule(
    connection: &mut Connection,
    ids: &[i64],
    due: Datetime,
    claimed: bool,
) -> Result<Changed> {
    let sql = format!(
        "UPDATE message SET due = :due, attempts = 0, problem = NULL,
             properties = CASE WHEN json_valid(properties)
                 THEN json_replace(properties, '$.headers.\"{}\".Text', :text) ELSE properties END
         WHERE id = :id",
        headers::DUE
    );
    each(connection, &sql, Some(due), ids, claimed)
}

fn each(
    connection: &mut Connection,
    sql: &str,
    due: Option<Datetime>,
    ids: &[i64],
    claimed: bool,
) -> Result<Changed> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changed = Changed::default();
    for &id in ids {
        let mut find = transaction.prepare_cached("SELECT 1 FROM in_flight WHERE id = ?")?;
        if claimed && find.exists([id])? {
            changed.in_flight.push(id);
            continue;
        }
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = match due {
            Some(due) => statement.execute(named_params! {
                ":id": id, ":due": due.unix_micros(), ":text": due.to_string(),
            })?,
            None => statement.execute(named_params! {":id": id})?,
        };
        if rows == 1 {
            changed.done.push(id);
        }
    }
    transaction.commit()?;
    Ok(changed)
}

/// Adds those messages that were never imported before, except those whose keys a newer one
/// has taken meanwhile. Returns how many were new.
pub fn import(connection: &mut Connection, messages: &[Import]) -> Result<usize> {
    let transaction = connection.transaction()?;
    let mut new = 0;
    {
        let mut record = transaction.prepare_cached("INSERT OR IGNORE INTO imported VALUES (?)")?;
        let mut taken =
            transaction.prepare_cached("SELECT 1 FROM message WHERE plugin = ? AND key = ?")?;
        let mut add = transaction.prepare_cached(INSERT)?;
        for Import { id, delayed } in messages {
            if record.execute([id])? == 0 {
                continue;
            }
            new += 1;
            let key: &dyn ToSql = &delayed.key;
            if delayed.key.is_none() || !taken.exists(params![delayed.plugin, key])? {
                insert(&mut add, delayed)?;
            }
        }
    }
    transaction.commit()?;
    Ok(new)
}

/// How many of these messages were imported before.
pub fn count_imported(connection: &Connection, messages: &[Import]) -> Result<usize> {
    let mut find = connection.prepare_cached("SELECT 1 FROM imported WHERE message_id = ?")?;
    let mut found = 0;
    for message in messages {
        found += usize::from(find.exists([&message.id])?);
    }
    Ok(found)
}

/// Ends pauses that begin later than `latest`: a clock that was wrong has made them. Returns
/// how many there were.
pub fn end_pauses(connection: &Connection, latest: Datetime, now: Datetime) -> Result<usize> {
    let mut found =
        connection.prepare_cached("SELECT 1 FROM message WHERE attempts > 0 AND due > ?")?;
    // Usually there are none, and then nothing is written.
    if !found.exists([latest.unix_micros()])? {
        return Ok(0);
    }
    let sql = "UPDATE message SET due = ? WHERE attempts > 0 AND due > ?
               AND id NOT IN (SELECT id FROM in_flight)";
    connection.execute(sql, [now.unix_micros(), latest.unix_micros()])
}

/// Writes everything, as it is at this moment, into another file, which is empty yet.
pub fn back_up(connection: &Connection, file: &Path) -> Result<()> {
    connection.execute("VACUUM INTO ?", [file.to_string_lossy()]).map(drop)
}

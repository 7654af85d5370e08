//! What a router does with the messages: adds, claims and settles them.

use rusqlite::{Connection, Result, Transaction, params};

use super::rows::{COLUMNS, INSERT, insert, read};
use crate::delay::BYTES_TOGETHER;
use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed};

/// Adds messages in this order. One with a key replaces the message that has that key.
pub fn accept(connection: &mut Connection, messages: &[Delayed]) -> Result<()> {
    let transaction = connection.transaction()?;
    insert_all(&transaction, messages.iter())?;
    transaction.commit()
}

/// Inserts messages in this order, replacing those with the same keys.
pub fn insert_all<'a>(
    transaction: &Transaction<'_>,
    messages: impl Iterator<Item = &'a Delayed>,
) -> Result<()> {
    let mut statement = transaction.prepare_cached(INSERT)?;
    let mut replace =
        transaction.prepare_cached("DELETE FROM message WHERE plugin = ? AND key = ?")?;
    for message in messages {
        if let Some(key) = &message.key {
            replace.execute(params![message.plugin, key])?;
        }
        insert(&mut statement, message)?;
    }
    Ok(())
}

/// Up to `limit` of the messages that are due at `now`, in due order and without those that
/// `skip` selects; and when the first of the others is due.
pub fn due(
    connection: &mut Connection,
    now: Datetime,
    limit: usize,
    skip: impl Fn(i64) -> bool,
) -> Result<(Vec<Stored>, Option<Datetime>)> {
    let snapshot = connection.transaction()?;
    // This is answered from the index alone, so skipping costs next to nothing.
    let mut ids =
        snapshot.prepare_cached("SELECT id FROM message WHERE due <= ? ORDER BY due, id")?;
    let mut fetch =
        snapshot.prepare_cached(&format!("SELECT {COLUMNS} FROM message WHERE id = ?"))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut rows = ids.query([now.unix_micros()])?;
    while let Some(row) = rows.next()? {
        if found.len() >= limit || bytes >= BYTES_TOGETHER {
            return Ok((found, Some(now)));
        }
        let id = row.get(0)?;
        if !skip(id) {
            let message: Stored = fetch.query_row([id], read)?;
            bytes += message.delayed.message.body.len();
            found.push(message);
        }
    }
    Ok((found, first_after(&snapshot, now)?))
}

fn first_after(connection: &Connection, now: Datetime) -> Result<Option<Datetime>> {
    let micros: Option<i64> = connection
        .prepare_cached("SELECT min(due) FROM message WHERE due > ?")?
        .query_row([now.unix_micros()], |row| row.get(0))?;
    Ok(micros.map(Datetime::from_unix_micros))
}

/// Removes the messages that were sent, and updates those that are put off. Returns how many
/// were removed.
pub fn settle(
    connection: &mut Connection,
    sent: &[(i64, Datetime)],
    put_off: &[(Datetime, Stored)],
) -> Result<usize> {
    // If the machine loses power, a removal may be lost and the message sent again. That does
    // not justify a disk flush; the next flush includes it.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let settled = remove_and_put_off(connection, sent, put_off);
    connection.pragma_update(None, "synchronous", "FULL")?;
    settled
}

/// Does not touch a message whose due time a person has changed in the meantime.
fn remove_and_put_off(
    connection: &mut Connection,
    sent: &[(i64, Datetime)],
    put_off: &[(Datetime, Stored)],
) -> Result<usize> {
    let transaction = connection.transaction()?;
    let mut removed = 0;
    {
        let mut remove =
            transaction.prepare_cached("DELETE FROM message WHERE id = ? AND due = ?")?;
        for (id, due) in sent {
            removed += remove.execute(params![id, due.unix_micros()])?;
        }
        let mut delay = transaction.prepare_cached(
            "UPDATE message SET due = ?, attempts = ?, problem = ? WHERE id = ? AND due = ?",
        )?;
        for (claimed_due, Stored { id, attempts, problem, delayed, .. }) in put_off {
            let (due, claimed_due) = (delayed.due.unix_micros(), claimed_due.unix_micros());
            delay.execute(params![due, attempts, problem, id, claimed_due])?;
        }
    }
    transaction.commit()?;
    Ok(removed)
}

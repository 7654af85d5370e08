//! What a router does with the messages: adds, claims and settles them.

use std::collections::HashSet;

use rusqlite::{Connection, Result, Transaction, params};

use super::damaged::{Failure, Untouched, around_damage, at, is_damage, replacing};
use super::rows::{COLUMNS, INSERT, insert, read, unreadable};
use crate::delay::BYTES_TOGETHER;
use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed};

/// Adds messages in this order. One with a key replaces the message that has that key; if that
/// one is damaged and stays, it keeps the key, and the new one is added without.
pub fn accept(connection: &mut Connection, messages: &[Delayed]) -> Result<()> {
    let named = |position: usize| {
        let Delayed { plugin, key, .. } = &messages[position];
        let key = key.as_deref().unwrap_or_default();
        format!("the message that a newer one of plugin {plugin:?} with key {key:?} replaces")
    };
    around_damage(connection, named, |transaction, untouched| {
        let mut add = transaction.prepare_cached(INSERT)?;
        let mut replace =
            transaction.prepare_cached("DELETE FROM message WHERE plugin = ? AND key = ?")?;
        for (position, message) in messages.iter().enumerate() {
            let Some(key) = &message.key else {
                insert(&mut add, message)?;
                continue;
            };
            if untouched.contains_key(&position) {
                insert(&mut add, &Delayed { key: None, ..message.clone() })?;
            } else {
                at(position, replace.execute(params![message.plugin, key]))?;
                replacing(position, insert(&mut add, message))?;
            }
        }
        Ok(())
    })
    .map(drop)
}

/// What was found due.
#[derive(Debug, Default)]
pub struct Due {
    /// The messages, in due order.
    pub messages: Vec<Stored>,
    /// Rows on damaged pages, of which no more than the id is known.
    pub lost: Vec<Stored>,
    /// When the first of the others is due.
    pub next: Option<Datetime>,
}

/// Up to `limit` of the messages that are due at `now`, without those that `skip` selects.
pub fn due(
    connection: &mut Connection,
    now: Datetime,
    limit: usize,
    skip: impl Fn(i64) -> bool,
) -> Result<Due> {
    let snapshot = connection.transaction()?;
    // This is answered from the index alone, so skipping costs next to nothing.
    let mut ids =
        snapshot.prepare_cached("SELECT id FROM message WHERE due <= ? ORDER BY due, id")?;
    let mut fetch =
        snapshot.prepare_cached(&format!("SELECT {COLUMNS} FROM message WHERE id = ?"))?;
    let (mut found, mut bytes, mut seen) = (Due::default(), 0, HashSet::new());
    let mut rows = ids.query([now.unix_micros()])?;
    while let Some(row) = rows.next()? {
        if found.messages.len() + found.lost.len() >= limit || bytes >= BYTES_TOGETHER {
            found.next = Some(now);
            return Ok(found);
        }
        let id = row.get(0)?;
        // A damaged index can have two entries for a row.
        if skip(id) || !seen.insert(id) {
            continue;
        }
        match fetch.query_row([id], read) {
            Err(error) if is_damage(&error) => found.lost.push(unreadable(id, &error)),
            message => {
                let message = message?;
                let due = message.delayed.due;
                if due > now {
                    // A damaged index has still an entry of when it was due before.
                    found.next = Some(found.next.map_or(due, |next| next.min(due)));
                    continue;
                }
                bytes += message.delayed.message.body.len();
                found.messages.push(message);
            }
        }
    }
    found.next = [found.next, first_after(&snapshot, now)?].into_iter().flatten().min();
    Ok(found)
}

fn first_after(connection: &Connection, now: Datetime) -> Result<Option<Datetime>> {
    let micros: Option<i64> = connection
        .prepare_cached("SELECT min(due) FROM message WHERE due > ? AND typeof(due) = 'integer'")?
        .query_row([now.unix_micros()], |row| row.get(0))?;
    Ok(micros.map(Datetime::from_unix_micros))
}

/// Nothing is in flight yet: a router has just started.
pub fn forget_in_flight(connection: &mut Connection) -> Result<()> {
    unflushed(connection, |connection| connection.execute("DELETE FROM in_flight", []).map(drop))
}

/// Notes that messages are in flight, so that no command changes them meanwhile. Returns the
/// ids of those that a command has changed already.
pub fn note_in_flight(
    connection: &mut Connection,
    messages: &[(i64, Datetime)],
) -> Result<Vec<i64>> {
    unflushed(connection, |connection| {
        let transaction = connection.transaction()?;
        let mut changed = Vec::new();
        {
            let mut note = transaction.prepare_cached(
                "INSERT OR REPLACE INTO in_flight SELECT id FROM message WHERE id = ? AND due = ?",
            )?;
            for (id, due) in messages {
                if note.execute(params![id, due.unix_micros()])? == 0 {
                    changed.push(*id);
                }
            }
        }
        transaction.commit()?;
        Ok(changed)
    })
}

/// What became of a claim in the store.
#[derive(Debug, Default)]
pub struct Settled {
    /// How many messages were removed.
    pub removed: usize,
    /// The ids of damaged rows that could be neither removed nor put off.
    pub stuck: Vec<i64>,
}

/// Removes the messages that were sent, and updates those that are put off.
pub fn settle(
    connection: &mut Connection,
    sent: &[(i64, Datetime)],
    put_off: &[(Datetime, Stored)],
) -> Result<Settled> {
    unflushed(connection, |connection| {
        let named = |id| format!("delayed message {id}");
        let (mut settled, untouched) =
            around_damage(connection, named, |transaction, untouched| {
                remove_and_put_off(transaction, untouched, sent, put_off)
            })?;
        settled.stuck.extend(untouched.into_keys());
        Ok(settled)
    })
}

/// Removes messages that have these due times and are not in flight. Returns the ids of damaged
/// rows that could not be removed.
pub fn remove(connection: &mut Connection, messages: &[(i64, Datetime)]) -> Result<Vec<i64>> {
    unflushed(connection, |connection| {
        let named = |id| format!("delayed message {id}");
        let ((), untouched) = around_damage(connection, named, |transaction, untouched| {
            let mut remove = transaction.prepare_cached(
                "DELETE FROM message WHERE id = ? AND due = ? AND id NOT IN (SELECT id FROM in_flight)",
            )?;
            for (id, due) in messages.iter().filter(|(id, _)| !untouched.contains_key(id)) {
                at(*id, remove.execute(params![id, due.unix_micros()]))?;
            }
            Ok(())
        })?;
        Ok(untouched.into_keys().collect())
    })
}

/// If the machine loses power, a removal may be lost and the message sent again. That does
/// not justify a disk flush; the next flush includes it.
fn unflushed<T>(
    connection: &mut Connection,
    task: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let done = task(connection);
    connection.pragma_update(None, "synchronous", "FULL")?;
    done
}

fn remove_and_put_off(
    transaction: &Transaction<'_>,
    untouched: &Untouched<i64>,
    sent: &[(i64, Datetime)],
    put_off: &[(Datetime, Stored)],
) -> Result<Settled, Failure<i64>> {
    let mut settled = Settled::default();
    let mut remove = transaction.prepare_cached("DELETE FROM message WHERE id = ? AND due = ?")?;
    let mut landed = transaction.prepare_cached("DELETE FROM in_flight WHERE id = ?")?;
    // What was sent and cannot be removed stays noted: nobody may be told that it is cancelled.
    for (id, due) in sent.iter().filter(|(id, _)| !untouched.contains_key(id)) {
        settled.removed += at(*id, remove.execute(params![id, due.unix_micros()]))?;
        landed.execute([id])?;
    }
    let mut delay = transaction.prepare_cached(
        "UPDATE message SET due = ?, attempts = ?, problem = ? WHERE id = ? AND due = ?",
    )?;
    for (claimed_due, Stored { id, attempts, problem, delayed, damage, .. }) in put_off {
        let (due, claimed_due) = (delayed.due.unix_micros(), claimed_due.unix_micros());
        if !untouched.contains_key(id) {
            let delayed = delay.execute(params![due, attempts, problem, id, claimed_due]);
            if at(*id, delayed)? == 0 && damage.is_some() {
                settled.stuck.push(*id);
            }
        }
        landed.execute([id])?;
    }
    Ok(settled)
}

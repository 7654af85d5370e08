//! What people do with the messages: list, correct, cancel, back up.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Result, ToSql, ffi, named_params};

use super::condition::{condition, with_filter};
use super::damaged::{around_damage, at, is_damage};
use super::rows::{COLUMNS, HEAD_COLUMNS, read, unreadable};
use crate::delay::record::{Changed, Filter, Stored};
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
    one_by_one(connection, HEAD_COLUMNS, &ids)
}

/// The messages with these ids; so that a damaged row hides no other.
fn one_by_one(connection: &Connection, columns: &str, ids: &[i64]) -> Result<Vec<Stored>> {
    let one = format!("SELECT {columns} FROM message WHERE id = ?");
    let mut one = connection.prepare_cached(&one)?;
    let found = ids.iter().map(|id| match one.query_row([id], read) {
        Err(error) if is_damage(&error) => Ok(unreadable(*id, &error)),
        found => found,
    });
    found.collect()
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
    let found: Result<Vec<Stored>> =
        connection.prepare_cached(&sql)?.query_map([after, limit], read)?.collect();
    match found {
        Err(error) if is_damage(&error) => {}
        found => return found,
    }
    // An index has the ids, too. It is read from end to end, but only where there is damage.
    let sql = "SELECT id FROM message INDEXED BY message_due WHERE id > ? ORDER BY id LIMIT ?";
    let ids: Result<Vec<i64>> =
        connection.prepare_cached(sql)?.query_map([after, limit], |row| row.get(0))?.collect();
    one_by_one(connection, COLUMNS, &ids?)
}

/// Removes messages. Those in flight are left alone if the file `is_claimed`: a router has
/// claimed what is noted as in flight.
pub fn cancel(
    connection: &mut Connection,
    ids: &[i64],
    is_claimed: impl Fn() -> bool,
) -> Result<Changed> {
    each(connection, "DELETE FROM message WHERE id = :id", None, ids, is_claimed)
}

/// Changes the due time of messages, and the header that tells it, as [`cancel`] removes them.
pub fn reschedule(
    connection: &mut Connection,
    ids: &[i64],
    due: Datetime,
    is_claimed: impl Fn() -> bool,
) -> Result<Changed> {
    let sql = format!(
        "UPDATE message SET due = :due, attempts = 0, problem = NULL,
             properties = CASE WHEN json_valid(properties)
                 THEN json_replace(properties, '$.headers.\"{}\".Text', :text) ELSE properties END
         WHERE id = :id",
        headers::DUE
    );
    each(connection, &sql, Some(due), ids, is_claimed)
}

fn each(
    connection: &mut Connection,
    sql: &str,
    due: Option<Datetime>,
    ids: &[i64],
    is_claimed: impl Fn() -> bool,
) -> Result<Changed> {
    let changed = around_damage(connection, named, |transaction, untouched| {
        if let Some((id, reason)) = untouched.first_key_value() {
            // All or nothing: who has named several knows then what was done.
            let reason = format!("delayed message {id} is damaged and cannot be changed: {reason}");
            let error = ffi::Error::new(ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(error, Some(reason)).into());
        }
        // Asked within the transaction: a router that starts meanwhile has to wait for its end
        // before it notes anything, and then sees what was changed.
        let is_claimed = is_claimed();
        let mut find = transaction.prepare_cached("SELECT 1 FROM in_flight WHERE id = ?")?;
        let mut statement = transaction.prepare_cached(sql)?;
        let mut changed = Changed::default();
        for &id in ids {
            if is_claimed && find.exists([id])? {
                changed.in_flight.push(id);
                continue;
            }
            let rows = match due {
                Some(due) => statement.execute(named_params! {
                    ":id": id, ":due": due.unix_micros(), ":text": due.to_string(),
                }),
                None => statement.execute(named_params! {":id": id}),
            };
            if at(id, rows)? == 1 {
                changed.done.push(id);
            }
        }
        Ok(changed)
    });
    changed.map(|(changed, _)| changed)
}

fn named(id: i64) -> String {
    format!("delayed message {id}")
}

/// Ends pauses that begin later than `latest`: a clock that was wrong has made them. Returns
/// how many there were.
pub fn end_pauses(connection: &mut Connection, latest: Datetime, now: Datetime) -> Result<usize> {
    let (latest, now) = (latest.unix_micros(), now.unix_micros());
    let sql = "SELECT id FROM message WHERE attempts > 0 AND due > ?
               AND id NOT IN (SELECT id FROM in_flight)";
    let ids: Result<Vec<i64>> =
        connection.prepare_cached(sql)?.query_map([latest], |row| row.get(0))?.collect();
    let ids = ids?;
    // Usually there are none, and then nothing is written.
    if ids.is_empty() {
        return Ok(0);
    }
    let ended = around_damage(connection, named, |transaction, untouched| {
        let sql = "UPDATE message SET due = ? WHERE id = ? AND attempts > 0 AND due > ?";
        let mut end = transaction.prepare_cached(sql)?;
        let mut ended = 0;
        for id in ids.iter().filter(|id| !untouched.contains_key(id)) {
            ended += at(*id, end.execute([now, *id, latest]))?;
        }
        Ok(ended)
    });
    ended.map(|(ended, _)| ended)
}

/// Writes everything, as it is at this moment, into another file, which is empty yet.
pub fn back_up(connection: &Connection, file: &Path) -> Result<()> {
    connection.execute("VACUUM INTO ?", [file.to_string_lossy()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    /// A router that starts between the question and the change would send what is cancelled.
    #[test]
    fn nobody_can_note_anything_after_it_was_asked_whether_a_router_runs() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let connection = Connection::open(folder.path().join("delays.db")).unwrap();
            schema::set_up(&connection).unwrap();
            connection
        };
        let (mut connection, router) = (open(), open());
        schema::migrate(&mut connection).unwrap();
        router.busy_timeout(std::time::Duration::ZERO).unwrap();
        let asked = std::cell::Cell::new(0);
        let is_claimed = || {
            asked.set(asked.get() + 1);
            router.execute("INSERT INTO in_flight VALUES (1)", []).unwrap_err();
            true
        };
        assert_eq!(cancel(&mut connection, &[1], is_claimed).unwrap(), Changed::default());
        assert_eq!(asked.get(), 1);
    }
}

//! What was imported, and is remembered so that it is imported once.

use rusqlite::{Connection, Result, ToSql, params};

use super::rows::{INSERT, insert};
use crate::delay::record::Import;

/// Remembers an import's id, unless it is known.
const RECORD: &str = "INSERT OR IGNORE INTO imported VALUES (?)";

/// Adds those messages that were never imported before, except those whose keys a newer one
/// has taken meanwhile. Returns how many were new.
pub fn import(connection: &mut Connection, messages: &[Import]) -> Result<usize> {
    let transaction = connection.transaction()?;
    let mut new = 0;
    {
        let mut record = transaction.prepare_cached(RECORD)?;
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
pub fn count(connection: &Connection, messages: &[Import]) -> Result<usize> {
    let mut find = connection.prepare_cached("SELECT 1 FROM imported WHERE message_id = ?")?;
    let mut found = 0;
    for message in messages {
        found += usize::from(find.exists([&message.id])?);
    }
    Ok(found)
}

/// Up to `limit` ids of imports above `after`, in order.
pub fn page(connection: &Connection, after: &str, limit: u32) -> Result<Vec<String>> {
    let sql = "SELECT message_id FROM imported WHERE message_id > ? ORDER BY message_id LIMIT ?";
    connection.prepare_cached(sql)?.query_map(params![after, limit], |row| row.get(0))?.collect()
}

/// Remembers these ids as imported.
pub fn note(connection: &mut Connection, ids: &[String]) -> Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut record = transaction.prepare_cached(RECORD)?;
        for id in ids {
            record.execute([id])?;
        }
    }
    transaction.commit()
}

//! The tables, the migrations that create them, and the options of a connection.

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, ErrorCode, Result};

use crate::delay::record::Unusable;

/// The schema's history: each entry migrates a store to the next version. Never change one
/// that was released; add a new one.
const MIGRATIONS: [&str; 2] = [
    // Ids are never reused (AUTOINCREMENT): a message is deleted by its id after it was sent,
    // and that must not delete one that replaced it in the meantime.
    "CREATE TABLE message (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         due INTEGER NOT NULL,
         plugin TEXT NOT NULL,
         version TEXT NOT NULL,
         key TEXT,
         uuid TEXT NOT NULL,
         exchange TEXT NOT NULL,
         routing_key TEXT NOT NULL,
         properties TEXT NOT NULL,
         body BLOB NOT NULL,
         attempts INTEGER NOT NULL DEFAULT 0,
         problem TEXT
     ) STRICT;
     CREATE INDEX message_due ON message (due);
     CREATE INDEX message_uuid ON message (uuid);
     CREATE UNIQUE INDEX message_key ON message (plugin, key) WHERE key IS NOT NULL;
     CREATE TABLE imported (message_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;",
    // What the router is sending, which commands leave alone; and the few messages that the
    // broker did not take, whose pauses end early when a clock jumps.
    "CREATE TABLE in_flight (id INTEGER PRIMARY KEY) STRICT;
     CREATE INDEX message_put_off ON message (due) WHERE attempts > 0;",
];

/// Sets a new connection's options.
pub fn set_up(connection: &Connection) -> Result<()> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 {
        // How a file can shrink is decided before there is anything in it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    if !connection.is_readonly(rusqlite::MAIN_DB)? {
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    }
    // The cache size is in KiB, the checkpoint interval in pages: 16 MiB and 32 MiB.
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA busy_timeout = 5000;
         PRAGMA cache_size = -16384;
         PRAGMA wal_autocheckpoint = 8192;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Migrates the schema to this version; returns whether there was none. A current one is only read:
/// listing the messages of a large store must not cause a write, which could cause a checkpoint.
pub fn migrate(connection: &mut Connection) -> anyhow::Result<bool> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(false);
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    check_known(version)?;
    for step in &MIGRATIONS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len())?)?;
    transaction.commit().context("cannot migrate the schema")?;
    Ok(version == 0)
}

/// Fails if this is the version of a schema that a newer mo-router has made.
pub fn check_known(version: usize) -> anyhow::Result<()> {
    if version > MIGRATIONS.len() {
        bail!(Unusable::NewerSchema { found: version, known: MIGRATIONS.len() });
    }
    Ok(())
}

/// Fails if the file is read-only. SQLite opens such a file without an error, and would fail
/// only at the first delayed message.
pub fn check_writable(connection: &Connection) -> anyhow::Result<()> {
    ensure!(!connection.is_readonly(rusqlite::MAIN_DB)?, "the file is read-only");
    Ok(())
}

/// The version of the schema; 0 if there is none.
pub fn version(connection: &Connection) -> anyhow::Result<usize> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version)?)
}

/// Pages of the file that hold nothing, from which on it is made smaller; and how many are
/// given back at a time: 16 MiB and 8 MiB.
const MANY_FREE: i64 = 4096;
const AT_A_TIME: i64 = 2048;

/// Gives some of the file's space back, if much of it holds nothing.
pub fn shrink(connection: &mut Connection) -> Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > MANY_FREE {
        // Each step gives one page back.
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({AT_A_TIME})"))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(())
}

/// Moves everything from the write-ahead log into the file, and has the file say that it has none:
/// it can then be told from a copy that somebody puts beside the log of another. The next to open
/// it changes that back.
///
/// While another process has the file open, the log stays.
pub fn pack(connection: &mut Connection) -> Result<()> {
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Ok(());
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    match connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        done => done,
    }
}

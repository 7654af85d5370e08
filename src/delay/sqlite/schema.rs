//! The tables, the migrations that create them, and the options of a connection.

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, Result};

use crate::delay::record::NewerSchema;

/// The schema's history: each entry migrates a store to the next version. Never change one
/// that was released; add a new one.
const MIGRATIONS: [&str; 1] = [
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
];

/// Sets a new connection's options.
pub fn set_up(connection: &Connection) -> Result<()> {
    // The cache size is in KiB, the checkpoint interval in pages: 16 MiB and 32 MiB.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA busy_timeout = 5000;
         PRAGMA cache_size = -16384;
         PRAGMA wal_autocheckpoint = 8192;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Migrates the schema to this version. A current one is only read: listing the messages of
/// a large store must not cause a write, which could cause a checkpoint.
pub fn migrate(connection: &mut Connection) -> anyhow::Result<()> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    if version > MIGRATIONS.len() {
        bail!(NewerSchema { found: version, known: MIGRATIONS.len() });
    }
    for step in &MIGRATIONS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len())?)?;
    transaction.commit().context("cannot migrate the schema")
}

/// Fails if the file is read-only. SQLite opens such a file without an error, and would fail
/// only at the first delayed message.
pub fn check_writable(connection: &Connection) -> anyhow::Result<()> {
    ensure!(!connection.is_readonly(rusqlite::MAIN_DB)?, "the file is read-only");
    Ok(())
}

fn version(connection: &Connection) -> anyhow::Result<usize> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version)?)
}

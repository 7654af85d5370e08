//! All that is said to SQLite.

use anyhow::{Context, bail, ensure};
use rusqlite::{
    Connection, OptionalExtension, Result, Row, Statement, ToSql, Transaction, named_params, params,
};

use crate::delay::BYTES_TOGETHER;
use crate::delay::record::{self, Census, Filter, Newer, Stored};
use crate::event::{Datetime, Delayed, Message};

/// The schema's history: each entry takes a store one version further. Never
/// change one that was released; add one.
const MIGRATIONS: [&str; 1] = [
    // An id is never used twice (AUTOINCREMENT): what is deleted by id after its
    // sending must not be a message that replaced it meanwhile.
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

const COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, body, attempts, problem";

/// Sets a new connection up.
pub fn prepare(connection: &Connection) -> Result<()> {
    // Kilobytes of cache, pages between checkpoints: 16 MiB and 32 MiB.
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

/// Brings the schema to this version. One that is there is only read: to look
/// into a large store must not cost a write, and with it perhaps a checkpoint.
pub fn migrate(connection: &mut Connection) -> anyhow::Result<()> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    if version > MIGRATIONS.len() {
        bail!(Newer { found: version, known: MIGRATIONS.len() });
    }
    for step in &MIGRATIONS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len())?)?;
    transaction.commit().context("cannot bring the schema up to date")
}

/// SQLite opens a file that it may not write for reading, and says so at the first
/// write: too late, if that is the first delayed message of the month.
pub fn check_writable(connection: &Connection) -> anyhow::Result<()> {
    ensure!(!connection.is_readonly(rusqlite::MAIN_DB)?, "the file is read-only");
    Ok(())
}

fn version(connection: &Connection) -> anyhow::Result<usize> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version)?)
}

/// Adds messages, in this order; each with a key replaces the one that has it.
pub fn accept(connection: &mut Connection, messages: &[Delayed]) -> Result<()> {
    let transaction = connection.transaction()?;
    insert_all(&transaction, messages.iter())?;
    transaction.commit()
}

fn insert_all<'a>(
    transaction: &Transaction<'_>,
    messages: impl Iterator<Item = &'a Delayed>,
) -> Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO message (due, plugin, version, key, uuid, exchange, routing_key, properties, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut replace =
        transaction.prepare_cached("DELETE FROM message WHERE plugin = ? AND key = ?")?;
    for message in messages {
        if let Some(key) = &message.key {
            replace.execute(params![message.plugin, key])?;
        }
        insert_one(&mut insert, message)?;
    }
    Ok(())
}

fn insert_one(insert: &mut Statement<'_>, delayed: &Delayed) -> Result<usize> {
    let message = &delayed.message;
    let properties = serde_json::to_string(&message.properties)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    insert.execute(params![
        delayed.due.unix_micros(),
        delayed.plugin,
        delayed.version,
        delayed.key,
        delayed.uuid,
        message.exchange,
        message.routing_key,
        properties,
        message.body.as_ref(),
    ])
}

/// Adds those messages whose `message_id` was never imported; says how many.
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

/// How many of these `message_id`s were imported already.
pub fn count_imported(connection: &Connection, messages: &[Delayed]) -> Result<usize> {
    let mut find = connection.prepare_cached("SELECT 1 FROM imported WHERE message_id = ?")?;
    let mut found = 0;
    for message in messages {
        found += usize::from(find.exists([message.message.id()])?);
    }
    Ok(found)
}

/// The first `limit` messages that are due at `now`, in due order, but for those
/// that `skip` knows, and when the first of the rest is due.
pub fn due(
    connection: &mut Connection,
    now: Datetime,
    limit: usize,
    skip: impl Fn(i64) -> bool,
) -> Result<(Vec<Stored>, Option<Datetime>)> {
    let snapshot = connection.transaction()?;
    // The index alone answers this, so that skipping costs next to nothing.
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

/// Removes what was sent, and puts off what could not be. Says how many were removed.
pub fn settle(
    connection: &mut Connection,
    sent: &[(i64, Datetime)],
    put_off: &[(Datetime, Stored)],
) -> Result<usize> {
    // Should the machine lose power, a removal may be undone, which costs a
    // repeat; that is not worth a disk flush. The next flush takes it along.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let settled = remove_and_put_off(connection, sent, put_off);
    connection.pragma_update(None, "synchronous", "FULL")?;
    settled
}

/// A message that a person has given another due time meanwhile stays as it is.
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

/// Up to `limit` messages in due order, from after the one with the id `after`.
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

/// How many there are and when they are due.
pub fn count(connection: &mut Connection, filter: &Filter, now: Datetime) -> Result<Census> {
    let snapshot = connection.transaction()?;
    let condition = condition(filter);
    let number = |extra: &str, from: Option<i64>, until: Option<i64>| {
        let sql = format!("SELECT count(*) FROM message WHERE {condition} {extra}");
        with_filter(&snapshot, &sql, filter, &[(":low", &from), (":high", &until)], |statement| {
            statement.raw_query().mapped(|row| row.get::<_, i64>(0)).next().unwrap_or(Ok(0))
        })
        .map(i64::unsigned_abs)
    };
    // SQLite counts a whole table much faster than a range of it, so the longest
    // range is what the others leave.
    let total = number("", None, None)?;
    let bounds = record::bounds(now);
    let longest = probably_longest(&snapshot, &bounds)?;
    let mut histogram = vec![0; bounds.len() + 1];
    for (range, count) in histogram.iter_mut().enumerate().filter(|(range, _)| *range != longest) {
        let low = range.checked_sub(1).map_or(i64::MIN, |before| bounds[before]);
        let high = bounds.get(range).copied().unwrap_or(i64::MAX);
        *count = number("AND due > :low AND due <= :high", Some(low), Some(high))?;
    }
    histogram[longest] = total.saturating_sub(histogram.iter().sum());
    let sql = format!("SELECT min(due) FROM message WHERE {condition}");
    let next = with_filter(&snapshot, &sql, filter, &[], |statement| {
        statement.raw_query().mapped(|row| row.get::<_, Option<i64>>(0)).next().unwrap_or(Ok(None))
    })?;
    Ok(Census { total, next: next.map(Datetime::from_unix_micros), histogram })
}

/// The range between the bounds that most of a sample of messages are due in.
fn probably_longest(connection: &Connection, bounds: &[i64]) -> Result<usize> {
    const SAMPLES: i64 = 64;
    let ids = "SELECT ifnull(min(id), 0), ifnull(max(id), 0) FROM message";
    let (first, last): (i64, i64) =
        connection.query_row(ids, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut sample =
        connection.prepare_cached("SELECT due FROM message WHERE id >= ? ORDER BY id LIMIT 1")?;
    let mut found = vec![0; bounds.len() + 1];
    for step in 0..SAMPLES {
        let id = first + (last - first) / SAMPLES * step;
        if let Some(due) = sample.query_row([id], |row| row.get::<_, i64>(0)).optional()? {
            found[bounds.partition_point(|bound| *bound < due)] += 1;
        }
    }
    Ok((0..found.len()).max_by_key(|range| found[*range]).unwrap_or(0))
}

/// Removes these messages; returns the ids of those that were there.
pub fn cancel(connection: &mut Connection, ids: &[i64]) -> Result<Vec<i64>> {
    each(connection, "DELETE FROM message WHERE id = :id", None, ids)
}

/// Gives these messages another due time; returns the ids of those that were there.
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

/// What a filter says, in SQL; [`with_filter`] gives the values.
fn condition(filter: &Filter) -> String {
    let mut terms = vec!["TRUE"];
    let mut term = |asked: bool, sql| {
        if asked {
            terms.push(sql)
        }
    };
    term(filter.plugin.is_some(), "plugin = :plugin");
    term(filter.uuid.is_some(), "uuid = :uuid");
    term(filter.key.is_some(), "key = :key");
    term(filter.from.is_some(), "due >= :from");
    term(filter.until.is_some(), "due < :until");
    terms.join(" AND ")
}

/// Runs a query with the values of `filter`, and those of `more` that it mentions.
fn with_filter<T>(
    connection: &Connection,
    sql: &str,
    filter: &Filter,
    more: &[(&str, &dyn ToSql)],
    run: impl FnOnce(&mut Statement<'_>) -> Result<T>,
) -> Result<T> {
    let mut statement = connection.prepare_cached(sql)?;
    let times = [filter.from, filter.until].map(|time| time.map(Datetime::unix_micros));
    let own: [(&str, &dyn ToSql); 5] = [
        (":plugin", &filter.plugin),
        (":uuid", &filter.uuid),
        (":key", &filter.key),
        (":from", &times[0]),
        (":until", &times[1]),
    ];
    for (name, value) in own.iter().chain(more) {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    run(&mut statement)
}

fn read(row: &Row<'_>) -> Result<Stored> {
    let message = Message {
        exchange: row.get(6)?,
        routing_key: row.get(7)?,
        properties: Box::default(),
        body: row.get::<_, Vec<u8>>(9)?.into(),
    };
    let delayed = Delayed {
        message,
        due: Datetime::from_unix_micros(row.get(1)?),
        plugin: row.get(2)?,
        version: row.get(3)?,
        key: row.get(4)?,
        uuid: row.get(5)?,
    };
    let (id, attempts, problem) = (row.get(0)?, row.get(10)?, row.get(11)?);
    let stored = Stored { id, attempts, problem, delayed, unreadable: None };
    Ok(stored.with_properties(row.get_ref(8)?.as_str()?))
}

//! What is said to PostgreSQL about messages.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::delay::BYTES_TOGETHER;
use crate::delay::record::{Filter, Stored};
use crate::event::{Datetime, Delayed, Message};

/// Where changes that people make are announced.
const CHANNEL: &str = "mo_router_delayed";

const COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, body, attempts, problem";

/// What is said often, prepared once for a connection.
pub struct Statements {
    accept: Statement,
    accept_keyed: Statement,
    claim: Statement,
    next: Statement,
    put_back: Statement,
}

impl Statements {
    pub async fn prepare(client: &Client) -> Result<Self> {
        let (accept, put_back) = (insert(""), insert("id, attempts, problem, "));
        let claim_some = claim_some();
        let accept_keyed = insert_free();
        let (accept, accept_keyed, claim, next, put_back) = tokio::try_join!(
            client.prepare(&accept),
            client.prepare(&accept_keyed),
            client.prepare(&claim_some),
            client.prepare("SELECT min(due) FROM mo_router_delayed WHERE due > $1"),
            client.prepare(&put_back),
        )?;
        Ok(Self { accept, accept_keyed, claim, next, put_back })
    }
}

/// Rows leave the table when they are claimed, in a transaction that is
/// committed when they have been sent. No other router sees them meanwhile
/// (SKIP LOCKED), and if this one dies, its transaction is undone. Against a
/// lease this saves a second write of each row, and depends on no clock.
fn claim_some() -> String {
    format!(
        "DELETE FROM mo_router_delayed WHERE ctid = ANY (ARRAY (
             SELECT ctid FROM (
                 SELECT ctid, sum(size) OVER (ORDER BY due, id) - size AS before FROM (
                     SELECT ctid, due, id, octet_length(body) AS size FROM mo_router_delayed
                     WHERE due <= $1 ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED) AS locked) AS sized
             WHERE before < {BYTES_TOGETHER}))
         RETURNING {COLUMNS}"
    )
}

fn insert(more: &str) -> String {
    let types = if more.is_empty() { "" } else { ", $10::bigint[], $11::integer[], $12::text[]" };
    let more_last = if more.is_empty() { "" } else { ", id, attempts, problem" };
    format!(
        "INSERT INTO mo_router_delayed ({NEW}{more_last}) SELECT * FROM unnest({VALUES}{types}) {REPLACE}"
    )
}

/// A message whose key another one has that is on its way would wait for that, and
/// everything with it: it is left out. Returns what is not.
fn insert_free() -> String {
    // Subqueries for each message (LATERAL) take the index on keys, however many
    // messages the server expects.
    let same = "FROM mo_router_delayed AS old
                WHERE old.key IS NOT NULL AND old.plugin = new.plugin AND old.key = new.key";
    format!(
        "WITH new AS (SELECT * FROM unnest({VALUES}) AS new ({NEW})),
             taken AS (SELECT plugin, key FROM new, LATERAL (SELECT {same} LIMIT 1) AS old),
             free AS (SELECT plugin, key FROM new, LATERAL (SELECT {same} FOR UPDATE SKIP LOCKED) AS old)
         INSERT INTO mo_router_delayed ({NEW}) SELECT * FROM new
         WHERE key IS NULL OR (plugin, key) NOT IN (TABLE taken EXCEPT TABLE free)
         {REPLACE} RETURNING plugin, key"
    )
}

/// The columns of a new message.
const NEW: &str = "due, plugin, version, key, uuid, exchange, routing_key, properties, body";

/// Their values, for many messages.
const VALUES: &str = "$1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                      $7::text[], $8::text[], $9::bytea[]";

const REPLACE: &str = "
    ON CONFLICT (plugin, key) WHERE key IS NOT NULL DO UPDATE SET
        id = excluded.id, due = excluded.due, version = excluded.version, uuid = excluded.uuid,
        exchange = excluded.exchange, routing_key = excluded.routing_key,
        properties = excluded.properties, body = excluded.body,
        attempts = excluded.attempts, problem = excluded.problem";

/// The columns of many rows, for `unnest`.
#[derive(Default)]
struct Columns<'a> {
    due: Vec<i64>,
    plugin: Vec<Cow<'a, str>>,
    version: Vec<Cow<'a, str>>,
    key: Vec<Option<Cow<'a, str>>>,
    uuid: Vec<Cow<'a, str>>,
    exchange: Vec<Cow<'a, str>>,
    routing_key: Vec<Cow<'a, str>>,
    properties: Vec<String>,
    body: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(messages: impl Iterator<Item = &'a Delayed>) -> Result<Self> {
        let mut columns = Self::default();
        for delayed in messages {
            let message = &delayed.message;
            columns.due.push(delayed.due.unix_micros());
            columns.plugin.push(text(&delayed.plugin));
            columns.version.push(text(&delayed.version));
            columns.key.push(delayed.key.as_deref().map(text));
            columns.uuid.push(text(&delayed.uuid));
            columns.exchange.push(text(&message.exchange));
            columns.routing_key.push(text(&message.routing_key));
            columns.properties.push(serde_json::to_string(&message.properties)?);
            columns.body.push(&message.body);
        }
        Ok(columns)
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.due,
            &self.plugin,
            &self.version,
            &self.key,
            &self.uuid,
            &self.exchange,
            &self.routing_key,
            &self.properties,
            &self.body,
        ]
    }
}

/// PostgreSQL's texts hold no NUL. AMQP's do not either, so that only a plugin's
/// odd key is changed by this.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// Adds messages, in this order; each with a key replaces the one that has it.
/// Returns the positions of those that would have to wait for that one.
pub async fn accept(
    client: &Client,
    statements: &Statements,
    messages: &[Delayed],
) -> Result<Vec<usize>> {
    let columns = Columns::of(last_of_each_key(messages).into_iter())?;
    if columns.key.iter().all(Option::is_none) {
        client.execute(&statements.accept, &columns.values()).await?;
        return Ok(Vec::new());
    }
    let rows = client.query(&statements.accept_keyed, &columns.values()).await?;
    let added: HashSet<(&str, Option<&str>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let waits = |message: &Delayed| {
        let key = message.key.as_deref().map(text);
        key.is_some() && !added.contains(&(&text(&message.plugin), key.as_deref()))
    };
    let positions = messages.iter().enumerate().filter(|(_, message)| waits(message));
    Ok(positions.map(|(position, _)| position).collect())
}

/// One statement cannot change a row twice, so of messages with the same key, as it
/// is stored, only the last is kept. Those with keys come in the order of their keys:
/// routers that write at the same time then wait for one another in one direction only.
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

/// Begins a transaction that takes up to `limit` due messages out, in due order, and
/// not more than [`BYTES_TOGETHER`]. Says whether there may be more.
pub async fn claim(
    client: &Client,
    statements: &Statements,
    now: Datetime,
    limit: usize,
) -> Result<(Vec<Stored>, bool)> {
    let mut limit = limit;
    loop {
        let rows = claim_rows(client, statements, now, limit).await?;
        let bytes: usize = rows.iter().map(|row| row.get::<_, &[u8]>(9).len()).sum();
        let more = rows.len() == limit;
        if more || bytes < BYTES_TOGETHER {
            let mut messages = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
            messages.sort_unstable_by_key(|message| (message.delayed.due, message.id));
            return Ok((messages, more));
        }
        // What is locked and does not fit would leave after what is behind it.
        client.batch_execute("ROLLBACK").await?;
        limit = rows.len();
    }
}

async fn claim_rows(
    client: &Client,
    statements: &Statements,
    now: Datetime,
    limit: usize,
) -> Result<Vec<Row>> {
    // A removal that the server forgets in a crash costs a repeat; that is not
    // worth a disk flush. And the transaction idles while the broker is at work.
    let begin = client.batch_execute(
        "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = 0",
    );
    let (now, limit) = (now.unix_micros(), i64::try_from(limit)?);
    let values: [&(dyn ToSql + Sync); 2] = [&now, &limit];
    let ((), rows) = tokio::try_join!(begin, client.query(&statements.claim, &values))?;
    Ok(rows)
}

/// When the first message after `now` is due.
pub async fn next(
    client: &Client,
    statements: &Statements,
    now: Datetime,
) -> Result<Option<Datetime>> {
    let row = client.query_one(&statements.next, &[&now.unix_micros()]).await?;
    Ok(row.get::<_, Option<i64>>(0).map(Datetime::from_unix_micros))
}

/// Puts messages of a claim back, and ends its transaction.
pub async fn settle(client: &Client, statements: &Statements, put_off: &[Stored]) -> Result<()> {
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
        let more: [&(dyn ToSql + Sync); 3] = [&ids, &attempts, &problems];
        client.execute(&statements.put_back, &[&columns.values()[..], &more].concat()).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

/// How long an end of a connection may be silent before it counts as broken.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Sets a new connection up.
pub async fn prepare(client: &Client) -> Result<()> {
    // Compiling a query costs more than any of ours gains by it. And a router whose
    // machine or network is gone must not keep its claims for the hours that a server
    // lets a connection be silent; where it is none of TCP's, this changes nothing.
    let silence = SILENCE.as_secs();
    let settings = format!(
        "SET jit = off; SET tcp_keepalives_idle = {}; SET tcp_keepalives_interval = {};
         SET tcp_keepalives_count = 2; SET tcp_user_timeout = '{silence}s'",
        silence / 3,
        silence / 3
    );
    Ok(client.batch_execute(&settings).await?)
}

/// Announces changes that people make to this connection.
pub async fn listen(client: &Client) -> Result<()> {
    Ok(client.batch_execute(&format!("LISTEN {CHANNEL}")).await?)
}

/// Announces a change to all routers.
pub async fn announce(client: &Client) -> Result<()> {
    Ok(client.batch_execute(&format!("NOTIFY {CHANNEL}")).await?)
}

/// Adds those messages whose `message_id` was never imported; says how many.
pub async fn import(client: &mut Client, messages: &[Delayed]) -> Result<usize> {
    let transaction = client.transaction().await?;
    let ids: Vec<&str> = messages.iter().map(|message| message.message.id()).collect();
    let new = transaction
        .query(
            "INSERT INTO mo_router_imported SELECT * FROM unnest($1::text[])
             ON CONFLICT DO NOTHING RETURNING message_id",
            &[&ids],
        )
        .await?;
    let new: HashSet<String> = new.iter().map(|row| row.get(0)).collect();
    let fresh = messages.iter().filter(|message| new.contains(message.message.id()));
    let columns = Columns::of(fresh)?;
    transaction.execute(&insert(""), &columns.values()).await?;
    transaction.commit().await?;
    Ok(new.len())
}

/// How many of these `message_id`s were imported already.
pub async fn count_imported(client: &Client, messages: &[Delayed]) -> Result<usize> {
    let ids: Vec<&str> = messages.iter().map(|message| message.message.id()).collect();
    let sql = "SELECT count(*) FROM mo_router_imported WHERE message_id = ANY ($1)";
    Ok(usize::try_from(client.query_one(sql, &[&ids]).await?.get::<_, i64>(0))?)
}

/// Up to `limit` messages in due order, from after the one with the id `after`.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Stored>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut condition = Condition::of(filter);
    if let Some(after) = after {
        let number = condition.value(after);
        condition.term(&format!(
            "(due, id) > ((SELECT due FROM mo_router_delayed WHERE id = {number}), {number})"
        ));
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM mo_router_delayed WHERE {} ORDER BY due, id LIMIT {limit}",
        condition.sql
    );
    client.query(&sql, &condition.values()).await?.iter().map(read).collect()
}

/// The message with this id.
pub async fn show(client: &Client, id: i64) -> Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM mo_router_delayed WHERE id = $1");
    client.query_opt(&sql, &[&id]).await?.as_ref().map(read).transpose()
}

/// Removes these messages; returns the ids of those that were there.
///
/// Those that a router is sending right now are waited for.
pub async fn cancel(client: &Client, ids: &[i64]) -> Result<Vec<i64>> {
    each(client, "DELETE FROM mo_router_delayed WHERE id = ANY ($1) RETURNING id", ids, &[]).await
}

/// Gives these messages another due time; returns the ids of those that were there.
pub async fn reschedule(client: &Client, ids: &[i64], due: Datetime) -> Result<Vec<i64>> {
    let sql = "UPDATE mo_router_delayed SET due = $2, attempts = 0, problem = NULL
               WHERE id = ANY ($1) RETURNING id";
    each(client, sql, ids, &[&due.unix_micros()]).await
}

async fn each(
    client: &Client,
    sql: &str,
    ids: &[i64],
    more: &[&(dyn ToSql + Sync)],
) -> Result<Vec<i64>> {
    let mut changed: Vec<i64> = Vec::new();
    // A statement that waits for a message which is on its way does not see it again
    // if it is put off: then it is another row, with the same id.
    for _ in 0..2 {
        let missing: Vec<i64> = ids.iter().filter(|id| !changed.contains(id)).copied().collect();
        if missing.is_empty() {
            break;
        }
        let values: [&(dyn ToSql + Sync); 1] = [&missing];
        let rows = client.query(sql, &[&values[..], more].concat()).await?;
        changed.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
    }
    Ok(changed)
}

/// What a filter says, in SQL, with the values that its placeholders stand for.
pub struct Condition {
    pub sql: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Condition {
    pub fn of(filter: &Filter) -> Self {
        let mut condition = Self { sql: "TRUE".into(), values: Vec::new() };
        for (column, value) in
            [("plugin", &filter.plugin), ("uuid", &filter.uuid), ("key", &filter.key)]
        {
            if let Some(value) = value {
                let number = condition.value(text(value).into_owned());
                condition.term(&format!("{column} = {number}"));
            }
        }
        for (comparison, time) in [("due >=", filter.from), ("due <", filter.until)] {
            if let Some(time) = time {
                let number = condition.value(time.unix_micros());
                condition.term(&format!("{comparison} {number}"));
            }
        }
        condition
    }

    /// Adds a value; returns its placeholder.
    fn value(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn term(&mut self, term: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(term);
    }

    pub fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect()
    }
}

fn read(row: &Row) -> Result<Stored> {
    let id: i64 = row.try_get(0)?;
    let message = Message {
        exchange: row.try_get(6)?,
        routing_key: row.try_get(7)?,
        properties: Box::default(),
        body: row.try_get::<_, Vec<u8>>(9)?.into(),
    };
    let delayed = Delayed {
        message,
        due: Datetime::from_unix_micros(row.try_get(1)?),
        plugin: row.try_get(2)?,
        version: row.try_get(3)?,
        key: row.try_get(4)?,
        uuid: row.try_get(5)?,
    };
    let attempts = u32::try_from(row.try_get::<_, i32>(10)?).unwrap_or_default();
    let stored = Stored { id, attempts, problem: row.try_get(11)?, delayed, unreadable: None };
    Ok(stored.with_properties(row.try_get(8)?))
}

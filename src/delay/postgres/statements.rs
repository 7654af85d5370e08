//! The statements that are prepared once for each connection.

use anyhow::Result;
use tokio_postgres::{Client, Statement};

use super::rows::COLUMNS;
use crate::delay::BYTES_TOGETHER;

/// The frequent statements, prepared for one connection.
pub struct Statements {
    /// Adds messages without keys.
    pub accept: Statement,
    /// Adds messages, some of which have keys; returns those that it added.
    pub accept_keyed: Statement,
    /// Takes due messages out.
    pub claim: Statement,
    /// When the next message is due.
    pub next: Statement,
    /// Puts claimed messages back.
    pub put_back: Statement,
}

impl Statements {
    pub async fn prepare(client: &Client) -> Result<Self> {
        let (accept, put_back) = (insert(""), insert("id, attempts, problem, "));
        let claim = claim();
        let accept_keyed = insert_free();
        let (accept, accept_keyed, claim, next, put_back) = tokio::try_join!(
            client.prepare(&accept),
            client.prepare(&accept_keyed),
            client.prepare(&claim),
            client.prepare("SELECT min(due) FROM mo_router_delayed WHERE due > $1"),
            client.prepare(&put_back),
        )?;
        Ok(Self { accept, accept_keyed, claim, next, put_back })
    }
}

/// Claiming messages deletes their rows, in a transaction that is committed when they have
/// been sent. Until then other routers skip them (SKIP LOCKED), and if this router dies,
/// the transaction is rolled back. Compared with a lease, this saves a second write of each
/// row and depends on no clock.
fn claim() -> String {
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

/// Inserts messages, and the `more` columns, which are `id, attempts, problem` or none.
pub fn insert(more: &str) -> String {
    let types = if more.is_empty() { "" } else { ", $10::bigint[], $11::integer[], $12::text[]" };
    let more_last = if more.is_empty() { "" } else { ", id, attempts, problem" };
    format!(
        "INSERT INTO mo_router_delayed ({NEW}{more_last}) SELECT * FROM unnest({VALUES}{types}) {REPLACE}"
    )
}

/// Inserts messages, except those that would replace a message in flight: the statement
/// would wait for that one, with all the others. Returns the keys of those it inserted.
fn insert_free() -> String {
    // A subquery per message (LATERAL) uses the index on keys, however many messages the
    // server expects.
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

/// Their values for many messages.
const VALUES: &str = "$1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                      $7::text[], $8::text[], $9::bytea[]";

const REPLACE: &str = "
    ON CONFLICT (plugin, key) WHERE key IS NOT NULL DO UPDATE SET
        id = excluded.id, due = excluded.due, version = excluded.version, uuid = excluded.uuid,
        exchange = excluded.exchange, routing_key = excluded.routing_key,
        properties = excluded.properties, body = excluded.body,
        attempts = excluded.attempts, problem = excluded.problem";

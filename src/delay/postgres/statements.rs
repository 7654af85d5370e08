//! The SQL of what a router does.
//!
//! No statement depends on an earlier one having had its effect: a server can cancel any one
//! of them, and a pooler can give each another session. So nothing is prepared, and what a
//! statement needs of its transaction is asked for in the statement itself.

use super::rows::COLUMNS;
use crate::delay::BYTES_TOGETHER;
use crate::event::headers;

/// Begins a claim's transaction. Commits of removals are not flushed: if the server loses one
/// in a crash, the message is sent again. The transaction is idle while messages are being
/// published; a router that is frozen meanwhile loses its claim, and what it sends
/// nevertheless is a repeat.
pub const BEGIN_CLAIM: &str =
    "BEGIN; SET LOCAL mo_router.claim = 'open'; SET LOCAL synchronous_commit = off;
     SET LOCAL idle_in_transaction_session_timeout = '2min'";

/// Whether the statement runs in the transaction of [`BEGIN_CLAIM`].
const IN_CLAIM: &str = "current_setting('mo_router.claim', true) = 'open'";

/// The database's time when the transaction began, in microseconds since 1970. It is the same for
/// all statements of a claim.
const BEGUN: &str = "(extract(epoch FROM now()) * 1000000)::bigint";

/// When the next message is due that a claim has not seen, whether the claim's transaction is
/// still open, and what the database's clock showed when that began.
pub fn next() -> String {
    format!(
        "SELECT min(due), coalesce({IN_CLAIM}, FALSE), {BEGUN} FROM mo_router_delayed
         WHERE due > least($1, {BEGUN})"
    )
}

/// Claiming messages deletes their rows, in a transaction that is committed when they have
/// been sent. Until then other routers skip them (SKIP LOCKED), and if this router dies,
/// the transaction is rolled back. Compared with a lease, this saves a second write of each
/// row and depends on no clock.
///
/// A caller's clock may be wrong: no message is taken that is not due by the database's.
///
/// Outside of that transaction the statement deletes nothing.
pub fn claim() -> String {
    let first = first();
    format!(
        "DELETE FROM mo_router_delayed WHERE ctid = ANY (ARRAY (
             SELECT ctid FROM (
                 SELECT ctid, sum(size) OVER (ORDER BY due, id) - size AS before FROM (
                     SELECT ctid, due, id, octet_length(body) AS size {first} AND {IN_CLAIM}
                     ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED) AS locked) AS sized
             WHERE before < {BYTES_TOGETHER}))
         RETURNING {COLUMNS}"
    )
}

/// The first due message that a claim would take.
pub fn first_id() -> String {
    format!("SELECT id {} ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED", first())
}

/// Due messages, but for some.
fn first() -> String {
    format!("FROM mo_router_delayed WHERE due <= least($1, {BEGUN}) AND id <> ALL ($3)")
}

/// Inserts messages without keys. Returns which server did.
pub fn accept() -> String {
    format!(
        "WITH added AS (
             INSERT INTO mo_router_delayed ({NEW})
             SELECT new.* FROM unnest({VALUES}) AS new, {DURABLE} WHERE durable.level <> 'off')
         SELECT {SERVER}"
    )
}

/// Inserts messages, except those that would replace a message in flight: the statement
/// would wait for that one, with all the others. Returns which server did, and the keys of those
/// that it inserted, at least one row.
pub fn accept_keyed() -> String {
    // A subquery per message (LATERAL) uses the index on keys, however many messages the
    // server expects.
    let same = "FROM mo_router_delayed AS old
                WHERE old.key IS NOT NULL AND old.plugin = new.plugin AND old.key = new.key";
    format!(
        "WITH new AS (SELECT * FROM unnest({VALUES}) AS new ({NEW})),
             taken AS (SELECT plugin, key FROM new, LATERAL (SELECT {same} LIMIT 1) AS old),
             free AS (SELECT plugin, key FROM new, LATERAL (SELECT {same} FOR UPDATE SKIP LOCKED) AS old),
             added AS (
                 INSERT INTO mo_router_delayed ({NEW}) SELECT new.* FROM new, {DURABLE}
                 WHERE durable.level <> 'off'
                     AND (key IS NULL OR (plugin, key) NOT IN (TABLE taken EXCEPT TABLE free))
                 {REPLACE} RETURNING plugin, key)
         SELECT here.server, plugin, key FROM (SELECT {SERVER}) AS here LEFT JOIN added ON TRUE"
    )
}

/// Remembers ids of imports, unless they are known.
pub fn note_imported() -> String {
    format!(
        "INSERT INTO mo_router_imported
         SELECT DISTINCT message_id FROM unnest($1::text[]) AS batch (message_id), {DURABLE}
         WHERE durable.level <> 'off'
         ON CONFLICT DO NOTHING"
    )
}

/// Inserts messages whose imports' ids are new, except those whose keys a newer one has taken
/// meanwhile. Returns how many ids were new.
pub fn import() -> String {
    format!(
        "WITH batch AS (
             SELECT DISTINCT ON (message_id) * FROM unnest({VALUES}, $10::text[])
             AS batch ({NEW}, message_id)),
         new AS (
             INSERT INTO mo_router_imported
             SELECT message_id FROM batch, {DURABLE} WHERE durable.level <> 'off'
             ON CONFLICT DO NOTHING RETURNING message_id),
         added AS (
             INSERT INTO mo_router_delayed ({NEW})
             SELECT {NEW} FROM batch JOIN new USING (message_id)
             ON CONFLICT (plugin, key) WHERE key IS NOT NULL DO NOTHING)
         SELECT count(*) FROM new"
    )
}

/// Removes messages. Returns the ids of those that are there, and whether it removed them:
/// claimed ones are left alone.
pub fn cancel() -> String {
    change("DELETE FROM mo_router_delayed AS one USING free WHERE one.id = free.id")
}

/// Changes the due times of messages, and the header that tells it, as [`cancel`] removes them.
/// The properties are text, which is left as it is otherwise: JSON as serde_json writes it.
pub fn reschedule() -> String {
    change(&format!(
        r#"UPDATE mo_router_delayed AS one SET due = $2, attempts = 0, problem = NULL,
               properties = regexp_replace(properties, '("{}":{{"Text":")[^"]*', '\1' || $3)
           FROM free WHERE one.id = free.id"#,
        headers::DUE
    ))
}

/// A claim's rows are locked, and are not waited for: it can take as long as the broker does.
fn change(change: &str) -> String {
    format!(
        "WITH free AS MATERIALIZED (
             SELECT id FROM mo_router_delayed WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED),
         done AS ({change} RETURNING one.id)
         SELECT there.id, done.id IS NOT NULL
         FROM mo_router_delayed AS there LEFT JOIN done USING (id), {DURABLE}
         WHERE there.id = ANY ($1) AND durable.level <> 'off'"
    )
}

/// Which server this is: when it was started, in microseconds since 1970. One that takes over was
/// started at another time.
const SERVER: &str = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS server";

/// A commit that changes nothing, and gives which server did. It waits, as any other, for the
/// standby that commits wait for; and so for all that was committed there before.
pub fn replicated() -> String {
    format!(
        "BEGIN;
         SELECT {SERVER}, pg_logical_emit_message(true, 'mo-router', '') FROM {DURABLE}
         WHERE durable.level <> 'off';
         COMMIT"
    )
}

/// Removes messages that were put off and have been sent all the same. What is claimed is left
/// alone, and what a person has rescheduled, which has no attempts any more. Its commit is not
/// flushed either.
pub const REMOVE: &str = "
    DELETE FROM mo_router_delayed
    USING (SELECT set_config('synchronous_commit', 'off', TRUE) AS level) AS fast
    WHERE fast.level = 'off' AND id IN (
        SELECT id FROM mo_router_delayed WHERE id = ANY ($1) AND attempts > 0
        FOR UPDATE SKIP LOCKED)";

/// Puts claimed messages back, in the claim's transaction.
pub fn put_back() -> String {
    format!(
        "INSERT INTO mo_router_delayed ({NEW}, id, attempts, problem)
         SELECT * FROM unnest({VALUES}, $10::bigint[], $11::integer[], $12::text[]) {REPLACE}"
    )
}

/// Lets the sequence behind the ids overtake the rows that are there: a logical copy or a
/// restore may have brought rows without it. It only ever counts up, whatever others do.
pub const ADVANCE_IDS: &str = "
    SELECT count(nextval(sequence))
    FROM (SELECT pg_get_serial_sequence('mo_router_delayed', 'id')::regclass AS sequence) AS ids,
        generate_series(coalesce(pg_sequence_last_value(sequence), 0) + 1,
                        (SELECT max(id) FROM mo_router_delayed))";

/// Makes what stands beside it in a statement durable, where the database says that commits
/// need not be on disk: what is stored is acknowledged to the broker. Levels that ask for
/// more stay as they are. And has the server say so if the commit may be on it alone.
pub const DURABLE: &str = "(
    SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, TRUE) AS level,
        set_config('client_min_messages', 'warning', TRUE) AS told) AS durable";

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

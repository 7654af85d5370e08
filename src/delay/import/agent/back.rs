//! The way back: messages of the store's into the agent's table.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_postgres::types::Type;

use super::{Agent, Options, in_time};
use crate::delay::postgres::{DURABLE, until_replicated};
use crate::delay::{Import, Store, Stored};
use crate::event::Datetime;

/// How many messages are moved at a time: each may be many megabytes.
const TOGETHER: u32 = 16;

/// Notes what was moved, in the agent's database, so that it is moved once: a message leaves the
/// store only after its row is there.
const MOVED: &str = "CREATE TABLE IF NOT EXISTS mo_router_moved (
    store_id bigint, message_id text, PRIMARY KEY (store_id, message_id))";

/// Durable whatever the database says of commits: what was inserted is removed from the store.
fn insert() -> String {
    format!(
        "WITH new AS (
             INSERT INTO mo_router_moved
             SELECT batch.* FROM unnest($1::bigint[], $2::text[]) AS batch, {DURABLE}
             WHERE durable.level <> 'off'
             ON CONFLICT DO NOTHING RETURNING store_id)
         INSERT INTO messages (message, topic, produce_at)
         SELECT message, topic, due::timestamptz
         FROM unnest($1::bigint[], $3::text[], $4::text[], $5::text[]) AS batch (store_id, message, topic, due)
         JOIN new USING (store_id)"
    )
}

/// The numbers of messages that were moved into the agent's table, or would be in a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Rows of the agent's that the store has imported, and that were deleted: the router has
    /// sent them, or has them.
    pub deleted: u64,
    /// Messages that are in the agent's table now and no longer in the store.
    pub moved: u64,
    /// Messages that are due too early, and stay in the store.
    pub kept: u64,
    /// Messages that the table cannot take, each of which is logged. They stay in the store.
    pub left: u64,
    /// Messages that the router was sending when they were moved: the agent sends them again.
    pub repeated: u64,
}

impl Agent {
    /// Deletes the rows that the store has imported, and moves messages of a plugin to an
    /// exchange into the table: those that are due at `from` or later. Calls `progress` with the
    /// number of messages of each batch. Interrupted and run again, it moves nothing twice.
    ///
    /// # Errors
    /// The table cannot be read or written, or the store cannot.
    pub async fn move_back(
        &self,
        store: &Store,
        options: &Options,
        from: Option<Datetime>,
        dry_run: bool,
        progress: impl Fn(u64),
    ) -> Result<Moved> {
        if !dry_run {
            in_time(self.deadline, self.client.batch_execute(MOVED))
                .await
                .context("cannot write to the agent's database")?;
            store.until_replicated().await?;
        }
        let deleted = self.delete_imported(store, options, dry_run).await?;
        let mut moved = Moved { deleted, ..Moved::default() };
        let mut last = i64::MIN;
        loop {
            let page = store.page(last, TOGETHER).await?;
            let Some(end) = page.last() else { return Ok(moved) };
            last = end.id;
            progress(page.len() as u64);
            let mut batch = Vec::new();
            for stored in page.into_iter().filter(|stored| is_of(stored, options)) {
                if from.is_some_and(|from| stored.delayed.due < from) {
                    moved.kept += 1;
                    continue;
                }
                match Row::of(stored) {
                    Ok(row) => batch.push(row),
                    Err(error) => {
                        tracing::warn!("{error:#}, and stays in the store");
                        moved.left += 1;
                    }
                }
            }
            moved.moved += batch.len() as u64;
            if !dry_run && !batch.is_empty() {
                moved.repeated += self.move_rows(store, &batch).await?;
            }
        }
    }

    /// Moves messages, and returns how many of them the router was sending.
    async fn move_rows(&self, store: &Store, rows: &[Row]) -> Result<u64> {
        let column = |of: fn(&Row) -> &String| rows.iter().map(of).collect::<Vec<_>>();
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 5] = [
            (&ids, Type::INT8_ARRAY),
            (&column(|row| &row.message_id), Type::TEXT_ARRAY),
            (&column(|row| &row.message), Type::TEXT_ARRAY),
            (&column(|row| &row.topic), Type::TEXT_ARRAY),
            (&column(|row| &row.due), Type::TEXT_ARRAY),
        ];
        let sql = insert();
        let inserted = in_time(self.deadline, self.client.execute_typed(&sql, &values)).await;
        inserted.context("the table `messages` cannot be written as mo-delay-agent's")?;
        // Also what an earlier run has inserted, which did not wait for that long.
        in_time(self.deadline, until_replicated(&self.client))
            .await
            .context("the agent's database does not have them everywhere")?;
        let cancelled = store.cancel(ids).await?;
        Ok((rows.len() - cancelled.done.len()) as u64)
    }

    /// Deletes the rows that the store has imported. Returns how many there were.
    async fn delete_imported(
        &self,
        store: &Store,
        options: &Options,
        dry_run: bool,
    ) -> Result<u64> {
        let (mut last, mut deleted) = (i64::MIN, 0);
        loop {
            let rows = self.rows(last).await?;
            let Some(row) = rows.last() else { return Ok(deleted) };
            last = row.get(0);
            let read = rows
                .iter()
                .filter_map(|row| Some((row.get::<_, i64>(0), self.message(row, options).ok()?)));
            let (numbers, messages): (Vec<i64>, Vec<Import>) = read.unzip();
            let imported = imported(store, &numbers, messages).await?;
            deleted += imported.len() as u64;
            if !dry_run && !imported.is_empty() {
                let sql = "DELETE FROM messages WHERE id = ANY ($1)";
                let values = [(&imported as _, Type::INT8_ARRAY)];
                let delete = self.client.execute_typed(sql, &values);
                let done = in_time(self.deadline, delete).await;
                done.context("cannot delete imported rows of the agent's")?;
            }
        }
    }
}

/// The numbers of the rows that the store has imported.
async fn imported(store: &Store, numbers: &[i64], messages: Vec<Import>) -> Result<Vec<i64>> {
    let messages = Arc::new(messages);
    let count = store.count_imported(Arc::clone(&messages)).await?;
    if count == messages.len() {
        return Ok(numbers.to_vec());
    }
    let mut imported = Vec::new();
    if count > 0 {
        for (number, message) in numbers.iter().zip(messages.iter()) {
            if store.count_imported(Arc::new(vec![message.clone()])).await? == 1 {
                imported.push(*number);
            }
        }
    }
    Ok(imported)
}

fn is_of(stored: &Stored, options: &Options) -> bool {
    let delayed = &stored.delayed;
    delayed.plugin == options.plugin && delayed.message.exchange == options.exchange
}

/// A row of the agent's table.
struct Row {
    /// Of the message in the store.
    id: i64,
    message_id: String,
    message: String,
    topic: String,
    due: String,
}

impl Row {
    fn of(stored: Stored) -> Result<Self> {
        let id = stored.id;
        let cannot =
            |why: &str| format!("the agent's table cannot take delayed message {id}: {why}");
        anyhow::ensure!(stored.damage.is_none(), cannot("it is damaged"));
        let delayed = stored.delayed;
        anyhow::ensure!(delayed.due <= Datetime::NO_DATE, cannot("it is due after the year 9999"));
        let (message_id, topic) = (delayed.message.id().to_owned(), delayed.message.routing_key);
        let message = String::from_utf8(delayed.message.body.to_vec());
        let message = message.with_context(|| cannot("its body is not UTF-8"))?;
        let has_nul = message.contains('\0') || topic.contains('\0');
        anyhow::ensure!(!has_nul, cannot("PostgreSQL's text has no NUL"));
        Ok(Self { id, message_id, message, topic, due: delayed.due.to_string() })
    }
}

//! Rows of which the server cannot read everything, after a fault of the disk.
//!
//! A statement fails as a whole that comes upon one. So the rows of such a statement are read one
//! by one, and of one that cannot be read what can.

use anyhow::{Error, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::database_error;
use super::rows::{BARE_COLUMNS, HEAD_COLUMNS, Parameter, read};
use crate::delay::record::Stored;

/// Whether the server has come upon data that it cannot read: SQLSTATE class XX.
pub fn is_damage(error: &Error) -> bool {
    database_error(error).is_some_and(|words| words.code().code().starts_with("XX"))
}

/// The messages of `SELECT {columns} {rest}`.
pub async fn select(
    client: &Client,
    columns: &str,
    rest: &str,
    values: &[Parameter<'_>],
) -> Result<Vec<Stored>> {
    match try_select(client, columns, rest, values).await {
        Err(error) if is_damage(&error) => {}
        read => return read,
    }
    let mut messages = Vec::new();
    for row in client.query_typed(&format!("SELECT id {rest}"), values).await? {
        messages.extend(one(client, columns, row.try_get(0)?).await?);
    }
    Ok(messages)
}

async fn try_select(
    client: &Client,
    columns: &str,
    rest: &str,
    values: &[Parameter<'_>],
) -> Result<Vec<Stored>> {
    client
        .query_typed(&format!("SELECT {columns} {rest}"), values)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// As much as can be read of one message, if it is there.
async fn one(client: &Client, columns: &str, id: i64) -> Result<Option<Stored>> {
    let rest = "FROM mo_router_delayed WHERE id = $1";
    let mut damage = None;
    for columns in [columns, HEAD_COLUMNS, BARE_COLUMNS] {
        match try_select(client, columns, rest, &[(&id as _, Type::INT8)]).await {
            Err(error) if is_damage(&error) => damage = Some(words(&error)),
            read => {
                let mut message = read?.pop();
                if let (Some(message), Some(damage)) = (&mut message, damage) {
                    message.problem = Some(damage.clone());
                    message.damage = Some(damage);
                }
                return Ok(message);
            }
        }
    }
    Ok(None)
}

/// What the server says of it.
pub fn words(error: &Error) -> String {
    database_error(error).map_or_else(
        || format!("{error:#}"),
        |words| format!("it cannot be read: {}", words.message()),
    )
}

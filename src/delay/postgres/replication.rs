//! Waiting for a standby.

use anyhow::{Context, Result};
use tokio_postgres::SimpleQueryMessage;

use super::connection::Connection;
use super::statements;

/// Waits until a standby has confirmed all that this server has committed. Gives which server it
/// is.
///
/// # Errors
/// The wait was cut short; or the database's.
pub async fn until_replicated(connection: &Connection) -> Result<i64> {
    let messages = connection.simple_query(&statements::replicated()).await?;
    connection.doubt.none()?;
    let server = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(server.context("the database does not say since when it runs")?.parse()?)
}

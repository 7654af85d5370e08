//! What was imported, and is remembered so that it is imported once.

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::rows::Columns;
use super::statements;
use crate::delay::record::Import;

/// Adds those messages that were never imported before. Returns how many.
pub async fn import(client: &Client, messages: &[Import]) -> Result<usize> {
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let columns = Columns::of(messages.iter().map(|message| &message.delayed))?;
    let mut values = columns.values().to_vec();
    values.push((&ids, Type::TEXT_ARRAY));
    let row = client.query_typed_one(&statements::import(), &values).await?;
    Ok(usize::try_from(row.get::<_, i64>(0))?)
}

/// How many of these messages were imported before.
pub async fn count(client: &Client, messages: &[Import]) -> Result<usize> {
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let sql = "SELECT count(*) FROM mo_router_imported WHERE message_id = ANY ($1)";
    let row = client.query_typed_one(sql, &[(&ids, Type::TEXT_ARRAY)]).await?;
    Ok(usize::try_from(row.get::<_, i64>(0))?)
}

/// Up to `limit` ids of imports above `after`, in order.
pub async fn page(client: &Client, after: &str, limit: u32) -> Result<Vec<String>> {
    let sql = "SELECT message_id FROM mo_router_imported WHERE message_id > $1
               ORDER BY message_id LIMIT $2";
    let limit = i64::from(limit);
    let values = [(&after as _, Type::TEXT), (&limit as _, Type::INT8)];
    let rows = client.query_typed(sql, &values).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Remembers these ids as imported. One with a NUL PostgreSQL has no text for: what has it cannot
/// be imported into it at all.
pub async fn note(client: &Client, ids: &[String]) -> Result<()> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !id.contains('\0')).collect();
    let values = [(&ids as _, Type::TEXT_ARRAY)];
    client.execute_typed(&statements::note_imported(), &values).await?;
    Ok(())
}

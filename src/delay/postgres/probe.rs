//! Whether a database can be used as the store, without changing it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::connection;
use crate::delay::alarm::Alarm;
use crate::settings::ServerUrl;

const TABLE: &str = "mo_router_delayed";

/// Connects, and looks at the server, the connection and the rights.
///
/// # Errors
/// It cannot be reached, only answers questions, or the user lacks a right, which is named.
pub async fn probe(url: &ServerUrl) -> Result<String> {
    let cannot = || format!("cannot use the delay store {url}");
    let access = connection::access(url.expose()).with_context(cannot)?;
    let client = connection::connect(&access, Arc::new(Alarm::new())).await.with_context(cannot)?;
    let server = client
        .query_typed_one(
            "SELECT current_setting('server_version'), current_user::text, pg_is_in_recovery(),
                    (SELECT version FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()),
                    to_regclass('mo_router_delayed') IS NOT NULL",
            &[],
        )
        .await
        .with_context(cannot)?;
    let (version, user): (String, String) = (server.get(0), server.get(1));
    if server.get(2) {
        bail!(
            "{}: it only answers questions, being a standby: add target_session_attrs=read-write",
            cannot()
        );
    }
    let exists: bool = server.get(4);
    let rights: &[(&str, &str)] = match exists {
        true => &[
            ("SELECT", "has_table_privilege('mo_router_delayed', 'SELECT')"),
            ("INSERT", "has_table_privilege('mo_router_delayed', 'INSERT')"),
            ("UPDATE", "has_table_privilege('mo_router_delayed', 'UPDATE')"),
            ("DELETE", "has_table_privilege('mo_router_delayed', 'DELETE')"),
        ],
        false => &[("CREATE", "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")],
    };
    for (right, question) in rights {
        let row = client.query_typed_one(&format!("SELECT {question}"), &[]).await;
        if !row.with_context(cannot)?.get::<_, bool>(0) {
            let object = if exists { format!("table {TABLE}") } else { "the schema".to_owned() };
            bail!("{}: user {user:?} has no right to {right} on {object}: GRANT it", cannot());
        }
    }
    let encrypted = match server.get::<_, Option<String>>(3) {
        Some(version) => format!("encrypted with {version}"),
        None => "not encrypted".to_owned(),
    };
    let state = if exists { "has" } else { "will get" };
    Ok(format!(
        "{url} can be reached, {encrypted}: PostgreSQL {version}, which {state} the router's tables"
    ))
}

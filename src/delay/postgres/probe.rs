//! Whether a database can be used as the store, without changing it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio_postgres::Client;

use super::{connection, schema};
use crate::delay::alarm::Alarm;
use crate::settings::ServerUrl;

/// The router's tables, and what it does with each. That of the schema comes first: it says
/// what the others are.
const TABLES: [(&str, &[&str]); 3] = [
    ("mo_router_schema", &["SELECT"]),
    ("mo_router_delayed", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("mo_router_imported", &["SELECT", "INSERT"]),
];

/// Whether the user may use the sequence behind the ids.
const MAY_COUNT: &str = "coalesce(has_sequence_privilege(pg_get_serial_sequence('mo_router_delayed', 'id'), 'USAGE'), true)";

/// Whether the user may migrate the tables.
const IS_OWNER: &str = "(SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'mo_router_delayed'::regclass)";

/// Whether the user may make tables and indexes.
const MAY_CREATE: &str = "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";

/// Connects, and looks at the server, the connection, the schema and the rights.
///
/// # Errors
/// It cannot be reached, only answers questions, was made by a newer version or with another
/// encoding, or the user lacks a right, which is named.
pub async fn probe(url: &ServerUrl) -> Result<String> {
    look(url).await.with_context(|| format!("cannot use the delay store {url}"))
}

async fn look(url: &ServerUrl) -> Result<String> {
    let access = connection::access(url.expose())?;
    let mut client = connection::connect(&access, Arc::new(Alarm::new())).await?;
    let server = client
        .query_typed_one(
            "SELECT current_setting('server_version'), current_user::text, pg_is_in_recovery(),
                    (SELECT version FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()),
                    to_regclass('mo_router_schema') IS NOT NULL",
            &[],
        )
        .await?;
    let (version, user): (String, String) = (server.get(0), server.get(1));
    if server.get(2) {
        bail!("it only answers questions, being a standby: add target_session_attrs=read-write");
    }
    schema::check_encoding(&client).await?;
    let state = match server.get(4) {
        false => {
            require(&client, &user, MAY_CREATE, "CREATE on the schema").await?;
            "will get the router's tables".to_owned()
        }
        true => state_of_tables(&mut client, &user).await?,
    };
    let encrypted = match server.get::<_, Option<String>>(3) {
        Some(version) => format!("encrypted with {version}"),
        None => "not encrypted".to_owned(),
    };
    Ok(format!("{url} can be reached, {encrypted}: PostgreSQL {version}, which {state}"))
}

/// What there is to say of the tables, of which there are some.
async fn state_of_tables(client: &mut Client, user: &str) -> Result<String> {
    for (table, rights) in TABLES {
        for right in rights {
            let question = format!("has_table_privilege('{table}', '{right}')");
            require(client, user, &question, &format!("{right} on table {table}")).await?;
        }
    }
    require(client, user, MAY_COUNT, "USAGE on the sequence of mo_router_delayed.id").await?;
    let found = schema::look(client).await?;
    if found == schema::NEWEST {
        return Ok("has the router's tables".into());
    }
    if !is_so(client, IS_OWNER).await? {
        bail!(
            "its tables are of schema version {found}, and user {user:?} does not own them: start this mo-router \
             once as their owner, which migrates them to version {}",
            schema::NEWEST
        );
    }
    require(client, user, MAY_CREATE, "CREATE on the schema").await?;
    Ok(format!("has the router's tables, which will be migrated from version {found}"))
}

/// Fails if a user lacks a right, which is named as in GRANT.
async fn require(client: &Client, user: &str, question: &str, right: &str) -> Result<()> {
    if !is_so(client, question).await? {
        bail!("user {user:?} has no right to {right}: GRANT it");
    }
    Ok(())
}

async fn is_so(client: &Client, question: &str) -> Result<bool> {
    let row = client.query_typed_one(&format!("SELECT {question}"), &[]).await;
    Ok(row.with_context(|| format!("cannot ask whether {question}"))?.get(0))
}

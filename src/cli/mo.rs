//! `mo-router mo`

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::output::{Format, table};
use crate::escape::escaped;
use crate::mo::documents::{self, Census};
use crate::mo::keys::NAMESPACE;
use crate::mo::{Client, Stats};
use crate::settings::Settings;

/// What to do with MO's GraphQL events. All of it works while a router runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the listeners at MO, the router's and others, with the events that wait for them
    Listeners,
    /// Have MO redeliver now the events that wait for the router's listener
    Rerun {
        /// Routing key, such as engagement
        key: String,
        /// Only events about these subjects
        #[arg(long, value_name = "SUBJECT", num_args = 1..)]
        subject: Vec<String>,
    },
    /// Send an event to the listeners of a namespace that is yours
    Send {
        /// Routing key
        key: String,
        /// What the event is about: an identifier of at most 220 characters
        subject: String,
        /// The namespace
        #[arg(long)]
        namespace: String,
        /// Lower numbers are delivered first
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..))]
        priority: i32,
    },
}

/// Asks MO, and prints what it answers.
pub async fn run(command: Command, settings: &Settings, format: Format) -> Result<()> {
    if let Some(wrong) = settings.origins.unread.first() {
        bail!("{wrong}");
    }
    let client = Arc::new(Client::new(settings.mo.clone(), Stats::default())?);
    match command {
        Command::Listeners => list(&client, format).await,
        Command::Rerun { key, subject } => rerun(&client, &key, &subject, format).await,
        Command::Send { key, subject, namespace, priority } => {
            let document = documents::send(&namespace, &key, &subject, priority);
            client.answer(document).await?;
            format.print(
                &json!({ "namespace": namespace, "routing_key": key, "subject": subject }),
                format_args!("sent to the listeners of {key:?} in namespace {namespace:?}, if any"),
            )
        }
    }
}

async fn list(client: &Arc<Client>, format: Format) -> Result<()> {
    let all = all(client).await?;
    let mut rows = table();
    rows.set_header([
        "NAMESPACE",
        "ROUTING KEY",
        "NAME",
        "OURS",
        "EVENTS",
        "SILENCED",
        "UUID",
        "OWNER",
    ]);
    let mut values = Vec::new();
    for census in &all {
        let (listener, events) = (&census.listener, census.events.len());
        let silenced = census.events.iter().filter(|event| event.silenced).count();
        rows.add_row([
            escaped(&census.namespace.name),
            escaped(&listener.routing_key),
            escaped(&listener.user_key),
            if is_ours(client, census) { "yes" } else { "no" }.into(),
            events.to_string().into(),
            silenced.to_string().into(),
            listener.uuid.to_string().into(),
            listener.owner.to_string().into(),
        ]);
        values.push(json!({
            "namespace": census.namespace.name,
            "routing_key": listener.routing_key,
            "user_key": listener.user_key,
            "ours": is_ours(client, census),
            "events": events,
            "silenced": silenced,
            "uuid": listener.uuid,
            "owner": listener.owner,
        }));
    }
    format.print(&values, rows)
}

async fn rerun(client: &Arc<Client>, key: &str, subjects: &[String], format: Format) -> Result<()> {
    let name = format!("{}.{key}", client.settings().user_key);
    let data = client.answer(documents::listeners_named(&name)).await?;
    let (named, _) = documents::page(&data).context("reading MO's listeners")?;
    let ours: Vec<&Census> = named.iter().filter(|census| is_ours(client, census)).collect();
    let census = match ours.as_slice() {
        [] => bail!(
            "MO has no listener {name} of the router's: `mo-router mo listeners` shows which there \
             are, and who has them"
        ),
        [census] => census,
        [_, ..] => bail!(
            "MO has {} listeners {name}, and which one is the router's is not known: give its client \
             at Keycloak an identity of its own (the claim uuid)",
            ours.len()
        ),
    };
    let document = documents::rerun(&[census.listener.uuid], subjects);
    let events = documents::reran(&client.answer(document).await?);
    format.print(
        &json!({ "routing_key": key, "events": events }),
        format_args!("{events} events of {key:?} come again at once"),
    )
}

/// Whether a listener is one that the router with these settings has declared. A client without an
/// identity cannot tell it from that of another one.
fn is_ours(client: &Client, census: &Census) -> bool {
    let prefix = format!("{}.", client.settings().user_key);
    census.namespace.name == NAMESPACE
        && census.listener.user_key.starts_with(&prefix)
        && client.identity().is_none_or(|identity| identity == census.listener.owner)
}

async fn all(client: &Arc<Client>) -> Result<Vec<Census>> {
    let (mut all, mut cursor): (Vec<Census>, Option<String>) = (Vec::new(), None);
    loop {
        let data = client.answer(documents::listeners(cursor.as_deref())).await?;
        let (page, next) = documents::page(&data).context("reading MO's listeners")?;
        all.extend(page);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

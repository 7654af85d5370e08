//! All messages of a store as JSON Lines, to be imported into another one; and what was imported into
//! the store, so that the other one does not import it again.

use std::io::Write;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Store, Stored};
use crate::escape;
use crate::event::Properties;

/// How many messages are read at a time: each may be many megabytes.
const TOGETHER: u32 = 16;
/// How many ids of imports a line has.
const IDS_TOGETHER: u32 = 1000;

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its id in the store that it comes from.
    pub id: i64,
    /// When it is due, for people; no import reads it.
    pub due: String,
    /// The same in microseconds since 1970.
    pub due_micros: i64,
    /// The plugin that asked for it.
    pub plugin: String,
    /// Its version at the time.
    pub version: String,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// The person or unit that it is about.
    pub uuid: String,
    /// Where to.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// Its properties.
    pub properties: Properties,
    /// Its bytes, as base64.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub body: Vec<u8>,
    /// What of it cannot be read.
    pub damage: Option<String>,
    /// Its properties as stored, if they cannot be read.
    pub unreadable: Option<String>,
}

/// Ids of what was imported into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedIds {
    /// As the imports have them.
    pub imported: Vec<String>,
}

impl ImportedIds {
    /// Whether a line has such ids, and not a message.
    pub fn are_in(line: &[u8]) -> bool {
        line.starts_with(br#"{"imported":"#)
    }
}

impl From<Stored> for Line {
    fn from(stored: Stored) -> Self {
        let Stored { id, delayed, damage, unreadable, .. } = stored;
        Self {
            id,
            due: delayed.due.to_string(),
            due_micros: delayed.due.unix_micros(),
            plugin: delayed.plugin,
            version: delayed.version,
            key: delayed.key,
            uuid: delayed.uuid,
            exchange: delayed.message.exchange,
            routing_key: delayed.message.routing_key,
            properties: *delayed.message.properties,
            body: delayed.message.body.into(),
            damage,
            unreadable,
        }
    }
}

/// Writes all messages of a store, and what was imported into it. Returns how many there were, and how
/// many of them are damaged: they are written as far as they can be read, and no import takes them.
///
/// # Errors
/// The store cannot be read, or the output cannot be written.
pub async fn export(store: &Store, output: &mut impl Write) -> Result<(u64, u64)> {
    let (mut last, mut written, mut damaged) = (i64::MIN, 0, 0);
    loop {
        let page = store.page(last, TOGETHER).await?;
        let Some(stored) = page.last() else { break };
        last = stored.id;
        for stored in page {
            damaged += u64::from(stored.damage.is_some());
            written += 1;
            write(output, &Line::from(stored))?;
        }
    }
    let mut last = String::new();
    loop {
        let imported = match store.imported_ids(last, IDS_TOGETHER).await {
            Ok(imported) => imported,
            // In a damaged file this must not be in the way of the messages.
            Err(error) => {
                tracing::warn!(
                    "the export's list of what was imported into the store is incomplete, so \
                     importing that again would duplicate it: {error:#}"
                );
                break;
            }
        };
        let Some(id) = imported.last() else { break };
        last = id.clone();
        write(output, &ImportedIds { imported })?;
    }
    output.flush().context("cannot write the export")?;
    Ok((written, damaged))
}

fn write(output: &mut impl Write, line: &impl Serialize) -> Result<()> {
    // It may go to a terminal.
    let line = escape::json(line)?;
    writeln!(output, "{line}").context("cannot write the export")
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

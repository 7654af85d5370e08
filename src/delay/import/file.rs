//! Importing what another store has exported.

use std::io::BufRead;

use anyhow::{Context, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::{Imported, TOGETHER, Target};
use crate::delay::export::{ImportedIds, Line};
use crate::delay::{BYTES_TOGETHER, Import};
use crate::event::{Datetime, Delayed, Message};

/// Adds the messages of an export to the store, except those that were added before. Calls
/// `progress` with the number of messages of each batch.
///
/// # Errors
/// The lines cannot be read, or the store cannot be written. The next import skips what was
/// added before the error.
pub async fn import(
    target: Target<'_>,
    lines: impl BufRead,
    progress: impl Fn(u64),
) -> Result<Imported> {
    let mut imported = Imported::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut lines = lines.split(b'\n').enumerate();
    loop {
        let next = lines.next();
        let is_last = next.is_none();
        let mut known = None;
        if let Some((index, line)) = next {
            let line = line.context("cannot read the export")?;
            let which = || format!("line {} of the export", index + 1);
            match read(&line) {
                Ok(Read::Message(message)) => {
                    imported.read += 1;
                    bytes += message.delayed.message.body.len();
                    batch.push(*message);
                }
                Ok(Read::Known(ids)) => known = Some(ids),
                Err(error) => {
                    imported.read += 1;
                    imported.set_aside(&which(), &format!("{error:#}"));
                }
            }
        }
        let is_full = batch.len() >= TOGETHER || bytes >= BYTES_TOGETHER;
        // What the other store has imported and still has is among the messages before: its id
        // is known only once they are added.
        if is_full || is_last || known.is_some() {
            bytes = 0;
            progress(batch.len() as u64);
            let named = |message: &Import| format!("the message {}", message.id);
            imported.add(target, std::mem::take(&mut batch), named).await?;
        }
        if let (Some(ids), Target::Store(store)) = (known, target) {
            store.note_imported(ids.into()).await?;
        }
        if is_last {
            target.until_safe().await?;
            return Ok(imported);
        }
    }
}

/// What a line says.
enum Read {
    Message(Box<Import>),
    /// What was imported into the other store is not to be imported into this one, too.
    Known(Vec<String>),
}

fn read(line: &[u8]) -> Result<Read> {
    if ImportedIds::are_in(line) {
        let ids: ImportedIds = serde_json::from_slice(line).context("it is no list of ids")?;
        return Ok(Read::Known(ids.imported));
    }
    Ok(Read::Message(Box::new(message(line)?)))
}

fn message(line: &[u8]) -> Result<Import> {
    let line: Line = serde_json::from_slice(line).context("it is not a line of an export")?;
    anyhow::ensure!(line.damage.is_none(), "{}", line.damage.unwrap_or_default());
    let id = format!("{}:{:032x}", line.id, xxh3_128(&line.body));
    let message = Message {
        exchange: line.exchange,
        routing_key: line.routing_key,
        properties: Box::new(line.properties),
        body: line.body.into(),
    };
    let id = format!("export:{}:{id}", message.id());
    let delayed = Delayed {
        message,
        due: Datetime::from_unix_micros(line.due_micros),
        plugin: line.plugin,
        version: line.version,
        key: line.key,
        uuid: line.uuid,
    };
    Ok(Import { id, delayed })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn line(body: Vec<u8>) -> String {
        let line = Line {
            id: 1,
            due: String::new(),
            due_micros: 1,
            plugin: "p".into(),
            version: "1".into(),
            key: None,
            uuid: "u".into(),
            exchange: "out".into(),
            routing_key: "a".into(),
            properties: crate::event::Properties::default(),
            body,
            damage: None,
            unreadable: None,
        };
        format!("{}\n", serde_json::to_string(&line).unwrap())
    }

    #[tokio::test]
    async fn a_list_of_ids_that_cannot_be_read_stops_nothing() {
        let lines = format!("{0}{{\"imported\":[\n{0}", line(b"x".into()));
        let imported = import(Target::DryRun(None), lines.as_bytes(), |_| ()).await.unwrap();
        assert_eq!((imported.read, imported.added, imported.set_aside), (3, 2, 1));
    }

    #[tokio::test]
    async fn large_messages_are_stored_a_few_at_a_time() {
        let lines = line(vec![b'x'; 1 << 20]).repeat(40);
        let batches = RefCell::new(Vec::new());
        let progress = |count| batches.borrow_mut().push(count);
        let imported = import(Target::DryRun(None), lines.as_bytes(), progress).await.unwrap();
        assert_eq!((imported.read, imported.added), (40, 40));
        assert_eq!(*batches.borrow(), [16, 16, 8]);
    }
}

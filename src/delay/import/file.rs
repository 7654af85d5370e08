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
        if let Some((index, line)) = next {
            let line = line.context("cannot read the export")?;
            let which = || format!("line {} of the export", index + 1);
            if ImportedIds::are_in(&line) {
                note_imported(target, &line).await.with_context(which)?;
                continue;
            }
            imported.read += 1;
            match message(&line) {
                Ok(message) => {
                    bytes += message.delayed.message.body.len();
                    batch.push(message);
                }
                Err(error) => imported.set_aside(&which(), &format!("{error:#}")),
            }
        }
        if batch.len() >= TOGETHER || bytes >= BYTES_TOGETHER || is_last {
            bytes = 0;
            progress(batch.len() as u64);
            let named = |message: &Import| format!("the message {}", message.id);
            imported.add(target, std::mem::take(&mut batch), named).await?;
        }
        if is_last {
            return Ok(imported);
        }
    }
}

/// What was imported into the other store is not to be imported into this one, too.
async fn note_imported(target: Target<'_>, line: &[u8]) -> Result<()> {
    let ImportedIds { imported } = serde_json::from_slice(line)?;
    match target {
        Target::Store(store) => store.note_imported(imported.into()).await,
        Target::DryRun(_) => Ok(()),
    }
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

    #[tokio::test]
    async fn large_messages_are_stored_a_few_at_a_time() {
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
            body: vec![b'x'; 1 << 20],
            damage: None,
            unreadable: None,
        };
        let lines = format!("{}\n", serde_json::to_string(&line).unwrap()).repeat(40);
        let batches = RefCell::new(Vec::new());
        let progress = |count| batches.borrow_mut().push(count);
        let imported = import(Target::DryRun(None), lines.as_bytes(), progress).await.unwrap();
        assert_eq!((imported.read, imported.added), (40, 40));
        assert_eq!(*batches.borrow(), [16, 16, 8]);
    }
}

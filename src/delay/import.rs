//! Importing messages that were stored elsewhere: by mo-delay-agent, or by another store of
//! the router's.

pub mod agent;
pub mod file;

use std::sync::Arc;

use anyhow::Result;

use super::blame::{Unstorable, halves};
use super::{Import, Store};

/// How many messages are read and stored at a time.
const TOGETHER: usize = 1000;

/// The numbers of messages of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Messages that were read.
    pub read: u64,
    /// Those that were added, or would be in a dry run.
    pub added: u64,
    /// Those that an earlier import has added.
    pub known: u64,
    /// Those without a date, which mo-delay-agent keeps for ever and which are left with it.
    pub undated: u64,
    /// Those that cannot be read or stored, each of which is logged.
    pub set_aside: u64,
}

/// Where messages are imported to; none for a dry run into a store that does not exist yet.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// They are added to this store.
    Store(&'a Store),
    /// They are only counted, as if there were this store or none.
    DryRun(Option<&'a Store>),
}

impl Target<'_> {
    /// Waits until what was added, now or by an earlier import, is safe in the store: whoever
    /// imports may delete where it comes from.
    async fn until_safe(self) -> Result<()> {
        match self {
            Target::Store(store) => store.until_replicated().await,
            Target::DryRun(_) => Ok(()),
        }
    }
}

impl Imported {
    /// A message cannot be read or stored.
    fn set_aside(&mut self, which: &str, reason: &str) {
        tracing::warn!("{which} is set aside and not imported: {reason}");
        self.set_aside += 1;
    }

    /// Adds a batch, of which `named` says how people know a message by its import's id. What
    /// the store refuses is set aside.
    async fn add(
        &mut self,
        target: Target<'_>,
        batch: Vec<Import>,
        named: impl Fn(&Import) -> String,
    ) -> Result<()> {
        let mut batches = vec![batch];
        while let Some(batch) = batches.pop() {
            let (all, batch) = (batch.len(), Arc::new(batch));
            let added = match target {
                Target::Store(store) => store.import(Arc::clone(&batch)).await,
                Target::DryRun(Some(store)) => {
                    store.count_imported(Arc::clone(&batch)).await.map(|known| all - known)
                }
                Target::DryRun(None) => Ok(all),
            };
            match added {
                Ok(added) => {
                    self.added += added as u64;
                    self.known += (all - added) as u64;
                }
                Err(error) if error.is::<Unstorable>() => {
                    match halves(Arc::unwrap_or_clone(batch)) {
                        Ok(parts) => batches.extend(parts),
                        Err(culprits) => {
                            for culprit in &culprits {
                                self.set_aside(&named(culprit), &format!("{error:#}"));
                            }
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

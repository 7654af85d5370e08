//! Operations on dead letters: list, count, requeue, discard.
//!
//! They apply to the letters that are there when they begin. While one runs, it hides the
//! letters that it has read from the others, which wait for it for some seconds. None of
//! them keeps more letters in memory than it gives.

mod alike;
mod groups;
mod reader;
mod requeue;
mod selection;

use anyhow::{Context, Result};

pub use self::groups::Group;
use self::groups::Groups;
use self::reader::Reader;
pub use self::requeue::{Requeued, requeue};
pub use self::selection::{OfReason, Selection};
use super::broker::Broker;
pub use super::letter::Letter;
use crate::event::Datetime;

/// Is told how far an operation is: letters read, and letters there are.
pub trait Progress: Send {
    /// So many letters are done.
    fn at(&mut self, done: u64, total: u64);
}

impl<F: FnMut(u64, u64) + Send> Progress for F {
    fn at(&mut self, done: u64, total: u64) {
        self(done, total);
    }
}

/// What `show` makes of the selected letters, oldest first: of at most `limit` of them, without the
/// first `skip`. Nothing else of them is kept: a letter can have many megabytes.
///
/// # Errors
/// The broker is unreachable, or the user may not read the queue.
pub async fn list<T>(
    broker: &Broker,
    selection: &Selection,
    skip: usize,
    limit: usize,
    show: impl Fn(Letter) -> T,
) -> Result<Vec<T>> {
    let (mut skipped, mut letters) = (0, Vec::new());
    each(broker, selection, |letter| {
        if skipped < skip {
            skipped += 1;
        } else if letters.len() < limit {
            letters.push(show(letter));
        }
    })
    .await?;
    Ok(letters)
}

/// Counts the selected letters by plugin and reason, the largest group first. Reasons that differ only
/// in UUIDs and long numbers are one.
///
/// # Errors
/// The broker is unreachable, or the user may not read the queue.
pub async fn groups(broker: &Broker, selection: &Selection) -> Result<Vec<Group>> {
    let mut groups = Groups::until(Datetime::now());
    each(broker, selection, |letter| groups.add(letter)).await?;
    Ok(groups.into_sorted())
}

/// Looks at the selected letters. It reads all, which keeps them in order.
async fn each(broker: &Broker, selection: &Selection, mut visit: impl FnMut(Letter)) -> Result<()> {
    let mut reader = Reader::open(broker).await?;
    let ended = loop {
        match reader.next().await {
            Ok(Some((letter, receipt))) => {
                reader.keep(receipt);
                if selection.matches(&letter) {
                    visit(letter);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    reader.close().await;
    ended
}

/// Removes the selected letters for good, and says how many.
///
/// # Errors
/// The broker is unreachable, or the user may not read the queue. The error says how many were
/// removed until then.
pub async fn discard(
    broker: &Broker,
    selection: &Selection,
    mut progress: impl Progress,
) -> Result<u64> {
    let mut reader = Reader::open(broker).await?;
    let (total, mut discarded) = (reader.left(), 0);
    let ended = loop {
        match reader.next().await {
            Ok(Some((letter, receipt))) if selection.matches(&letter) => {
                reader.remove(receipt);
                discarded += 1;
            }
            Ok(Some((_, receipt))) => reader.keep(receipt),
            Ok(None) => break Ok(discarded),
            Err(error) => break Err(error),
        }
        progress.at(u64::from(total - reader.left()), u64::from(total));
    };
    reader.close().await;
    ended.with_context(|| format!("after {discarded} were discarded"))
}

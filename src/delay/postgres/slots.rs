//! How many connections may be taken by what people ask.
//!
//! Whoever reaches the page may look at delayed messages. While a table is locked, or is very large,
//! each look lasts; and a database has so many connections (`max_connections`, 100 by default), which
//! the router's own work needs, and other programs do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long one waits for others to be done.
const WAIT: Duration = Duration::from_secs(10);

/// The right to one connection, until it is dropped.
pub type Slot = OwnedSemaphorePermit;

/// The connections of one kind of question.
#[derive(Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    most: usize,
}

impl Slots {
    /// So many.
    pub fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// Waits for one that is free.
    ///
    /// # Errors
    /// None is after ten seconds.
    pub async fn take(&self) -> Result<Slot> {
        match timeout(WAIT, Arc::clone(&self.free).acquire_owned()).await {
            Ok(slot) => Ok(slot?),
            Err(_) => Err(anyhow!(
                "the database has been busy for {WAIT:?} with what others ask, for which there are {} \
                 connections: ask again later; pg_stat_activity shows what it waits for",
                self.most
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_more_than_there_are_waits_and_is_told_why() {
        let slots = Slots::new(2);
        let (_one, other) = (slots.take().await.unwrap(), slots.take().await.unwrap());
        let error = slots.take().await.unwrap_err().to_string();
        assert!(error.contains("busy for 10s") && error.contains("2 connections"), "{error}");
        drop(other);
        drop(slots.take().await.unwrap());
    }
}

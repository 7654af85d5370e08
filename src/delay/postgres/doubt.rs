//! Whether what was committed is where the database promises to have it.
//!
//! A commit waits for a synchronous standby. It is done all the same when that wait is cut short:
//! by a router whose patience has ended, by an administrator, or by a pooler. PostgreSQL only warns
//! then, and what it says to have committed is lost with the server.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Result, ensure};
use tokio_postgres::error::DbError;

/// What warns of it: PostgreSQL's own function, whatever the language of its messages.
const ROUTINE: &str = "SyncRepWaitForLSN";

/// Whether a connection's statements may have been committed on this server alone.
#[derive(Clone, Debug, Default)]
pub struct Doubt(Arc<AtomicBool>);

impl Doubt {
    /// Hears what the server tells besides its answers.
    pub fn hear(&self, notice: &DbError) {
        if notice.routine() == Some(ROUTINE) {
            self.0.store(true, Relaxed);
        }
    }

    /// Whether there is doubt of what was committed since it was asked last.
    pub fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }

    /// # Errors
    /// There is doubt of what was committed since it was asked last.
    pub fn none(&self) -> Result<()> {
        ensure!(!self.take(), "it is done, but no standby has confirmed it, and it may be lost");
        Ok(())
    }
}

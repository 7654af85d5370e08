//! How long commands wait.

use std::time::Duration;

/// How long a command waits for a broker that blocks publishing, before it gives up.
pub const BLOCKED_TIMEOUT: Duration = Duration::from_secs(10);

//! The next build, which begins before there is anything new to build.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::super::plugin_test::cases;

/// Where a build leaves the command for the shell that begins the next one, if it can begin without
/// the sources. It ends when its standard input does.
const COMMAND: &str = "ahead";

/// How long one that was finished by the build before may take to be gone.
const GONE: Duration = Duration::from_millis(100);

/// A build that may have begun.
#[derive(Default)]
pub struct Next(Option<Begun>);

struct Begun {
    process: Child,
    /// It ends when nobody keeps this any more.
    _input: Option<ChildStdin>,
}

impl Next {
    /// Forgets what an earlier build has left: only that of the last one is run.
    pub fn forget(dir: &Path) {
        // If it cannot be removed, the build cannot write it either.
        _ = std::fs::remove_file(dir.join(cases::BUILD).join(COMMAND));
    }

    /// Begins the next build of the project, unless one has begun and waits, or none can.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub async fn begin(&mut self, dir: &Path) -> Result<()> {
        if let Some(begun) = &mut self.0
            && timeout(GONE, begun.process.wait()).await.is_err()
        {
            return Ok(());
        }
        self.0 = None;
        let command = Path::new(cases::BUILD).join(COMMAND);
        if !dir.join(&command).exists() {
            return Ok(());
        }
        let mut process = Command::new("sh")
            .arg(&command)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start the shell for {}", command.display()))?;
        self.0 = Some(Begun { _input: process.stdin.take(), process });
        Ok(())
    }
}

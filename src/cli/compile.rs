//! `mo-router compile-plugin`: how the router starts itself to compile a plugin's file.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::plugins::{self, Task};

/// Within which limits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bytes of address space
    #[arg(long)]
    memory: u64,
    /// Seconds of processor time
    #[arg(long)]
    seconds: u64,
    /// Only say what the file is
    #[arg(long)]
    describe: bool,
}

/// Does it. This process must have no other thread.
///
/// # Errors
/// See [`plugins::compile_on_standard_streams`].
pub fn run(args: &Args) -> Result<ExitCode> {
    let task = if args.describe { Task::Describe } else { Task::Compile };
    plugins::compile_on_standard_streams(task, args.memory, Duration::from_secs(args.seconds))?;
    Ok(ExitCode::SUCCESS)
}

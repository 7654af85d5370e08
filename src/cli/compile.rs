//! `mo-router compile-plugin`: how the router starts itself to compile a plugin's file.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::plugins::{self, Codegen, Share, Task};

/// Within which limits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bytes of address space
    #[arg(long)]
    memory: u64,
    /// Seconds of processor time
    #[arg(long)]
    seconds: u64,
    /// Niceness
    #[arg(long, default_value_t = plugins::LOWEST_PRIORITY)]
    nice: i32,
    /// Only say what the file is
    #[arg(long)]
    describe: bool,
    /// Compile in little time, to code that takes more
    #[arg(long)]
    baseline: bool,
}

/// Does it. This process must have no other thread.
///
/// # Errors
/// See [`plugins::compile_on_standard_streams`].
pub fn run(args: &Args) -> Result<ExitCode> {
    let task = if args.describe { Task::Describe } else { Task::Compile };
    let codegen = if args.baseline { Codegen::Baseline } else { Codegen::Optimised };
    let time = Duration::from_secs(args.seconds);
    let share = Share { memory: args.memory, time, nice: args.nice };
    plugins::compile_on_standard_streams(task, codegen, share)?;
    Ok(ExitCode::SUCCESS)
}

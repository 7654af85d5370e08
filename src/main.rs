//! The `mo-router` command.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use mo_router::cli::{self, Cli, LogFormat};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// A third of what an event costs is allocation; this halves it. Without huge pages,
/// of which the many threads would fill little.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged unless `RUST_LOG` says otherwise. lapin reports each
/// returned message with its body; what comes of it is logged by us.
const LOG: &str = "info,lapin=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log_format);
    match run(cli) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mo-router: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = Runtime::new().context("the system has no threads for the router")?;
    let ended = runtime.block_on(cli::main(cli));
    // A read of standard input cannot be called off, and may wait for ever.
    runtime.shutdown_background();
    ended
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

//! The `mo-router` command.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use mo_router::cli::{self, Cli, LogFormat, WrongSettings};
use mo_router::escape::{Form, LogLines, escaped_lines};
use mo_router::logging::{self, Flood};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// A third of what an event costs is allocation; this halves it. Without huge pages,
/// of which the many threads would fill little.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As clap ends it for an argument that it does not know.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log_format);
    match cli::main(cli) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mo-router: {}", escaped_lines(&format!("{error:#}")));
            if error.is::<WrongSettings>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn log(format: LogFormat) {
    let (filter, wrong) = logging::filter(asked_for().as_deref());
    let log = tracing_subscriber::registry().with(filter);
    let colours = io::stderr().is_terminal();
    let form = match format {
        LogFormat::Json => Form::Json,
        LogFormat::Text if colours => Form::Coloured,
        LogFormat::Text => Form::Text,
    };
    let lines = fmt::layer().with_writer(LogLines(form)).with_ansi(form == Form::Coloured);
    match format {
        LogFormat::Text => log.with(lines.with_filter(Flood::default())).init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter(Flood::default());
            log.with(lines).init();
        }
    }
    if let Some(wrong) = wrong {
        tracing::warn!("{wrong}");
    }
}

#[expect(clippy::disallowed_methods, reason = "what is logged is decided before the settings")]
fn asked_for() -> Option<String> {
    std::env::var("RUST_LOG").ok()
}

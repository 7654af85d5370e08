//! The `mo-router` command.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use mo_router::cli::{self, Cli, LogFormat};
use mo_router::escape::{Form, LogLines, escaped_lines};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// A third of what an event costs is allocation; this halves it. Without huge pages,
/// of which the many threads would fill little.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log_format);
    match cli::main(cli) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mo-router: {}", escaped_lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn log(format: LogFormat) {
    let log = tracing_subscriber::registry().with(log_filter());
    let colours = io::stderr().is_terminal();
    let form = match format {
        LogFormat::Json => Form::Json,
        LogFormat::Text if colours => Form::Coloured,
        LogFormat::Text => Form::Text,
    };
    let lines = fmt::layer().with_writer(LogLines(form)).with_ansi(form == Form::Coloured);
    match format {
        LogFormat::Text => log.with(lines).init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true)).init(),
    }
}

/// What is logged: as `RUST_LOG` says, such as `info,lapin=off`, which is the default.
/// lapin reports each returned message with its body; what comes of it we log ourselves.
#[expect(clippy::disallowed_methods, reason = "what is logged is decided before the settings")]
fn log_filter() -> Targets {
    let asked = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    asked.unwrap_or_else(|| {
        Targets::new().with_default(LevelFilter::INFO).with_target("lapin", LevelFilter::OFF)
    })
}

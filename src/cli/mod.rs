//! The command line: what people type, and what they get to see.

mod check;
mod dead;
mod delayed;
mod manual;
mod plugin;
mod plugin_check;
mod plugin_test;
mod publish;
mod replay;
mod run;
mod status;
mod tail;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use crate::settings::{self, Settings};

/// Routes OS2mo events from RabbitMQ through sandboxed WebAssembly plugins.
///
/// Settings come from mo-router.toml, from MO's variables (ENABLE_AMQP, AMQP_URL, …)
/// and from `MO_ROUTER_<SECTION>_<KEY>`; docs/settings.md lists them.
#[derive(Debug, Parser)]
#[command(name = "mo-router", version, max_term_width = 100)]
pub struct Cli {
    /// The settings' file [default: mo-router.toml, if there is one]
    #[arg(long, global = true, env = "MO_ROUTER_CONFIG", value_name = "FILE")]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    /// How the log on standard error is written
    #[arg(long, global = true, env = "MO_ROUTER_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_enum, default_value_t)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router until it is told to stop
    ///
    /// With AMQP off ([amqp] enabled, ENABLE_AMQP), events are JSON Lines on standard
    /// input and what plugins publish is JSON Lines on standard output.
    Run,
    /// Show what the plugins would do with recorded events; publishes nothing
    Replay(replay::Args),
    /// Send one event, or a file of them, to the source exchange
    Publish(publish::Args),
    /// Print what passes an exchange, until interrupted
    Tail(tail::Args),
    /// Look at dead letters, send them back, throw them away
    #[command(subcommand)]
    Dead(dead::Command),
    /// Write, check and list plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Look at delayed messages, move or cancel them, take mo-delay-agent's over
    #[command(subcommand)]
    Delayed(delayed::Command),
    /// Show what the running router does
    Status(status::Args),
    /// Check the settings and every plugin in the folder
    Check,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man,
}

/// Prints a line, unless nobody reads any more: then that is the error.
fn print(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}

/// Does what was asked for, on a runtime of its own.
///
/// # Errors
/// What went wrong, for people.
pub fn main(cli: Cli) -> Result<ExitCode> {
    let runtime = Runtime::new().context("the system cannot start threads for the router")?;
    // Here and not in the binary: a future is compiled where it is first polled, and all
    // of the router hangs on this one.
    let ended = runtime.block_on(dispatch(cli));
    // A read of standard input cannot be cancelled and may wait for ever.
    runtime.shutdown_background();
    ended
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let config = cli.config.or_else(settings::default_file);
    let settings = || Settings::load(config.as_deref(), settings::variables());
    let json = cli.json;
    match cli.command {
        Command::Run => run::run(settings()?, config).await?,
        Command::Replay(args) => return replay::run(args, settings()?, json).await,
        Command::Publish(args) => publish::run(args, settings()?, json).await?,
        Command::Tail(args) => tail::run(args, settings()?, json).await?,
        Command::Dead(command) => dead::run(command, settings()?, json).await?,
        Command::Plugin(command) => return plugin::run(command, &settings()?, json).await,
        Command::Delayed(command) => delayed::run(command, settings()?, json).await?,
        Command::Status(args) => status::run(args, &settings()?, json).await?,
        Command::Check => return check::run(settings()?, json).await,
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::man()?,
    }
    Ok(ExitCode::SUCCESS)
}

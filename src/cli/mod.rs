//! The command line: what people type, and what they see.

mod check;
mod client;
mod compile;
mod connect;
mod dead;
mod delayed;
mod manual;
mod mo;
mod moment;
mod output;
mod patience;
mod plugin;
mod plugin_check;
mod plugin_dev;
mod plugin_logs;
mod plugin_test;
mod publish;
mod replay;
mod run;
mod status;
mod tail;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use self::output::Format;
use crate::settings::{self, Settings};

/// The heading of the options that every command has.
const GLOBAL: &str = "Global options";

/// Routes OS2mo events from RabbitMQ through sandboxed WebAssembly plugins.
///
/// Settings come from mo-router.toml, MO's own variables (`AMQP_ENABLE`, `AMQP__URL`, …) and
/// `MO_ROUTER_<SECTION>_<KEY>`; docs/settings.md lists them.
#[derive(Debug, Parser)]
#[command(name = "mo-router", version, max_term_width = 100)]
pub struct Cli {
    /// Settings file [default: mo-router.toml, if it exists]
    #[arg(long, global = true, help_heading = GLOBAL, env = "MO_ROUTER_CONFIG", value_name = "FILE")]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Format of the log on standard error
    #[arg(long, global = true, help_heading = GLOBAL, env = "MO_ROUTER_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_enum, default_value_t)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines of text
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router until it is stopped
    ///
    /// Without AMQP ([amqp] enabled, AMQP_ENABLE), events are read as JSON Lines from
    /// standard input, and publications are written as JSON Lines to standard output.
    Run(run::Args),
    /// Show what the plugins would publish for recorded events, without publishing it
    Replay(replay::Args),
    /// Publish one event, or a file of events, to the source exchange
    Publish(publish::Args),
    /// Print the messages that pass through an exchange, until interrupted (what plugins decide of
    /// them: the page's view Tail)
    Tail(tail::Args),
    /// List, show, requeue or discard dead letters
    #[command(subcommand)]
    Dead(dead::Command),
    /// Create, check, test and manage plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// List, count, reschedule or cancel delayed messages; back them up, export and import them
    #[command(subcommand)]
    Delayed(delayed::Command),
    /// Show the state of the running router
    Status(client::Router),
    /// List MO's listeners; rerun or send its GraphQL events
    #[command(subcommand)]
    Mo(mo::Command),
    /// Check the settings and every plugin in the plugins' folder
    Check(check::Args),
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff format
    Man,
    /// Compile a plugin's file from standard input to standard output
    #[command(hide = true)]
    CompilePlugin(compile::Args),
}

/// The settings are wrong: a fault like a wrong argument, which trying again does not fix.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct WrongSettings(anyhow::Error);

/// Runs the command, on a runtime of its own.
///
/// # Errors
/// What went wrong, in words for people; [`WrongSettings`] for one.
pub fn main(cli: Cli) -> Result<ExitCode> {
    if let Command::CompilePlugin(args) = &cli.command {
        // It confines itself before it has threads.
        return compile::run(args);
    }
    let runtime = Runtime::new().context("the system cannot start threads for the router")?;
    // A future is compiled where it is polled: in the binary, this one would have all of
    // the router compiled a second time.
    let ended = runtime.block_on(dispatch(cli));
    // A read of standard input cannot be cancelled and may wait for ever.
    runtime.shutdown_background();
    ended
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let config = cli.config.or_else(settings::default_file);
    let settings =
        || Settings::load(config.as_deref(), settings::variables()).map_err(WrongSettings);
    let format = if cli.json { Format::Json } else { Format::Text };
    match cli.command {
        Command::Run(args) => run::run(args, settings()?, config).await?,
        Command::Replay(args) => return replay::run(args, settings()?, format).await,
        Command::Publish(args) => publish::run(args, settings()?, format).await?,
        Command::Tail(args) => tail::run(args, settings()?, format).await?,
        Command::Dead(command) => dead::run(command, settings()?, format).await?,
        Command::Plugin(command) => return plugin::run(command, &settings()?, format).await,
        Command::Delayed(command) => delayed::run(command, settings()?, format).await?,
        Command::Status(router) => return status::run(&router, &settings()?, format).await,
        Command::Mo(command) => mo::run(command, &settings()?, format).await?,
        Command::Check(args) => return check::run(&args, settings()?, format).await,
        Command::Completions { shell } => manual::completions(shell, Cli::command())?,
        Command::Man => manual::man(Cli::command())?,
        Command::CompilePlugin(args) => return compile::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

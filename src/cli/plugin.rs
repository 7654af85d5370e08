//! `mo-router plugin`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::{plugin_check, plugin_test, print, status};
use crate::scaffold::{self, Language};
use crate::settings::Settings;

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a new plugin: a project that builds as it stands
    New {
        /// Its name: lower-case letters, digits and hyphens
        name: String,
        /// The language to write it in
        #[arg(long, value_enum)]
        lang: Language,
        /// The folder to put the project into
        #[arg(long, default_value = ".", value_hint = clap::ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Say what a file is, and try it on sample events
    Check(plugin_check::Args),
    /// Run the cases that lie beside plugins: events in, messages out
    Test(plugin_test::Args),
    /// List what the running router has loaded
    List {
        /// The router's HTTP address [default: [http] listen]
        #[arg(long)]
        address: Option<SocketAddr>,
    },
    /// Let a suspended plugin take events again
    Resume {
        /// The plugin
        name: String,
        /// The router's HTTP address [default: [http] listen]
        #[arg(long)]
        address: Option<SocketAddr>,
    },
}

/// Runs one of the commands.
pub async fn run(command: Command, settings: &Settings, json: bool) -> Result<ExitCode> {
    match command {
        Command::Check(args) => return plugin_check::run(args, settings, json).await,
        Command::Test(args) => return plugin_test::run(args, settings, json).await,
        Command::New { name, lang, dir } => {
            let project = scaffold::write(&name, lang, &dir)?;
            print(project.display())?;
        }
        Command::List { address } => {
            let status = status::fetch(address.unwrap_or(settings.http.listen)).await?;
            match json {
                true => print(&status["plugins"])?,
                false => status::print_plugins(&status["plugins"])?,
            }
        }
        Command::Resume { name, address } => {
            let address = address.unwrap_or(settings.http.listen);
            print(status::post(address, &format!("plugins/{name}/resume")).await?.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

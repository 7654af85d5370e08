//! `mo-router plugin`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::{plugin_check, plugin_test, print, status};
use crate::amqp::{Broker, topology};
use crate::plugins::check_name;
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
    /// Delete the queue of a plugin that no router runs any more
    ///
    /// A plugin whose file was taken away while no router ran has its queue still, and
    /// events go on gathering there. So has one whose routers are stopped, or which is
    /// suspended: that is not to be forgotten.
    Forget {
        /// The plugin
        name: String,
        /// Also the events that wait in the queue
        #[arg(long)]
        yes: bool,
    },
}

/// Runs one of the commands.
pub async fn run(command: Command, settings: &Settings, json: bool) -> Result<ExitCode> {
    match command {
        Command::Check(args) => return plugin_check::run(args, settings, json).await,
        Command::Test(args) => return plugin_test::run(args, settings, json).await,
        Command::New { name, lang, dir } => {
            let project = scaffold::write(&name, lang, &dir)?;
            match json {
                true => print(json!({ "plugin": name, "project": project }))?,
                false => print(project.display())?,
            }
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
            let answer = status::post(address, &format!("plugins/{name}/resume")).await?;
            match json {
                true => print(json!({ "plugin": name, "answer": answer.trim_end() }))?,
                false => print(answer.trim_end())?,
            }
        }
        Command::Forget { name, yes } => forget(&name, yes, settings, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes a plugin's queue, with its bindings, unless that would lose events that
/// nobody has agreed to lose.
async fn forget(name: &str, yes: bool, settings: &Settings, json: bool) -> Result<()> {
    check_name(name)?;
    let broker = Broker::new(settings.amqp.clone());
    let queue = topology::queue_name(&broker, name);
    let found = topology::depth(&broker, &queue).await?;
    let Some(depth) = found else { bail!("there is no queue {queue:?}") };
    if depth.messages > 0 && !yes {
        bail!(
            "{} messages wait in queue {queue:?} and would be lost: say --yes to that, or put the \
             plugin's file back to have them routed",
            depth.messages
        );
    }
    let messages = topology::delete_queue(&broker, name).await?.unwrap_or_default();
    broker.close().await;
    match json {
        true => print(json!({ "plugin": name, "queue": queue, "messages": messages }))?,
        false => print(format_args!("queue {queue:?} is deleted, with {messages} messages"))?,
    }
    Ok(())
}

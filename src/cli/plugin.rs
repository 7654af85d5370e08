//! `mo-router plugin`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::client::Router;
use super::output::Format;
use super::{plugin_check, plugin_dev, plugin_logs, plugin_test, status};
use crate::amqp::{Broker, topology};
use crate::plugins::check_name;
use crate::scaffold::{self, Language};
use crate::settings::Settings;

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a new plugin: a project that builds as it is
    New {
        /// Its name: lower-case letters, digits and hyphens
        name: String,
        /// Language to write it in
        #[arg(long, value_enum)]
        lang: Language,
        /// Folder to create the project in
        #[arg(long, default_value = ".", value_hint = clap::ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Show what a plugin file is, and try it on sample events
    Check(plugin_check::Args),
    /// Run the test cases next to plugins: events in, messages out
    Test(plugin_test::Args),
    /// Build, load and test a plugin's project on every change, and show what changed
    ///
    /// Runs make in the folder, then the cases next to the plugin, then recorded events, and
    /// prints in which answers the new build differs from the one before. Ends with Ctrl-C.
    Dev(plugin_dev::Args),
    /// Show what a plugin of the running router has logged, with the events that it is about
    Logs(plugin_logs::Args),
    /// List the plugins of the running router
    List(Router),
    /// Resume a suspended plugin
    Resume {
        /// The plugin's name
        name: String,
        #[command(flatten)]
        router: Router,
    },
    /// Remove a plugin whose file is gone, without waiting
    ///
    /// Its queue gets no more events, and keeps those that it has. Without this command, it
    /// keeps collecting events for [plugins] keep_bindings, in case the file comes back.
    Remove {
        /// The plugin's name
        name: String,
        #[command(flatten)]
        router: Router,
    },
    /// Delete the queue of a plugin that no router runs any more
    ///
    /// If a plugin's file is removed while no router runs, its queue stays and keeps
    /// collecting events. Do not forget a plugin that is suspended or whose routers are
    /// only stopped: it still needs its queue.
    Forget {
        /// The plugin's name
        name: String,
        /// Delete the queue even if events are waiting in it
        #[arg(long)]
        yes: bool,
    },
}

/// Runs one of the commands.
pub async fn run(command: Command, settings: &Settings, format: Format) -> Result<ExitCode> {
    match command {
        Command::Check(args) => return plugin_check::run(args, settings, format).await,
        Command::Test(args) => return plugin_test::run(args, settings, format).await,
        Command::Dev(args) => plugin_dev::run(args, settings, format).await?,
        Command::Logs(args) => plugin_logs::run(args, settings, format).await?,
        Command::New { name, lang, dir } => {
            let project = scaffold::write(&name, lang, &dir)?;
            format.print(&json!({ "plugin": name, "project": project }), project.display())?;
        }
        Command::List(router) => status::list_plugins(&router, settings, format).await?,
        Command::Resume { name, router } => {
            let answer = router.post(settings, &format!("plugins/{name}/resume")).await?;
            let answer = answer.trim_end();
            format.print(&json!({ "plugin": name, "answer": answer }), answer)?;
        }
        Command::Remove { name, router } => {
            check_name(&name)?;
            let answer = router.post(settings, &format!("plugins/{name}/remove")).await?;
            let answer = answer.trim_end();
            format.print(&json!({ "plugin": name, "answer": answer }), answer)?;
        }
        Command::Forget { name, yes } => forget(&name, yes, settings, format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes a plugin's queue with its bindings; events are only lost if `yes`.
async fn forget(name: &str, yes: bool, settings: &Settings, format: Format) -> Result<()> {
    check_name(name)?;
    let broker = Broker::new(settings.amqp.clone());
    let queue = topology::queue_name(&broker, name);
    let found = topology::depth(&broker, &queue).await?;
    let Some(depth) = found else { bail!("there is no queue {queue:?}") };
    if depth.messages > 0 && !yes {
        bail!(
            "{} messages are waiting in queue {queue:?} and would be lost: add --yes to lose them, or \
             put the plugin's file back to have them routed",
            depth.messages
        );
    }
    let messages = topology::delete_queue(&broker, name).await?.unwrap_or_default();
    broker.close().await;
    format.print(
        &json!({ "plugin": name, "queue": queue, "messages": messages }),
        format_args!("queue {queue:?} is deleted, with {messages} messages"),
    )
}

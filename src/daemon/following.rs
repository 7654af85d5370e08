//! What is followed while the router runs: the folder, the settings and the input.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::config::{self, Config, Reloads};
use super::endpoints::Endpoints;
use super::fleet::Fleet;
use super::notify::Notify;
use super::unasked::Unasked;
use crate::plugins::{Change, Folder, SLOW, Scanning, Sight};
use crate::settings::{Plugins, Settings};

/// How the settings are read again when somebody asks for it.
pub struct Reloading {
    /// Gets one each time.
    pub asked: mpsc::Receiver<()>,
    /// The file of settings, or where one may come to be.
    pub config: Config,
    /// Where it is noted whether all that was read is right.
    pub reloads: Arc<Reloads>,
    /// Who is told.
    pub notify: Arc<Notify>,
}

impl Reloading {
    /// Reads them again before there is anything to be told of them: what has changed is told when
    /// they are followed.
    pub async fn before_the_start(&self, settings: &Settings) {
        read_again(&self.config, settings, &self.reloads, &self.notify).await;
        self.notify.ready();
    }
}

/// Reads the settings again, and looks at the files that the ones in effect name; the service
/// manager is told that this has begun.
async fn read_again(config: &Config, settings: &Settings, reloads: &Reloads, notify: &Notify) {
    notify.reloading();
    config.reload().await;
    for wrong in unreadable_files(settings.clone()).await {
        reloads.note(false);
        error!("a file that the settings name cannot be used at the next connection: {wrong}");
    }
}

/// What is wrong with the files of passwords and certificates, which are read at each connection:
/// who has changed one wants to know before the next.
async fn unreadable_files(settings: Settings) -> Vec<String> {
    let looking = tokio::task::spawn_blocking(move || {
        let files = settings.files().into_iter();
        files.filter_map(|file| file.check().err()).map(|error| format!("{error:#}")).collect()
    });
    match tokio::time::timeout(SLOW, looking).await {
        Ok(wrong) => wrong.unwrap_or_else(|fault| vec![fault.to_string()]),
        Err(_) => vec![format!("their file system has not answered for {SLOW:?}")],
    }
}

/// Starts the plugins, then follows the folder, the settings and the input until
/// the input ends.
///
/// # Errors
/// The folder cannot be made or read, or the input fails.
pub async fn follow(
    settings: &Settings,
    endpoints: &Endpoints,
    fleet: &Arc<Fleet>,
    from_input: bool,
    Reloading { mut asked, mut config, reloads, notify }: Reloading,
) -> Result<()> {
    let dir = settings.plugins.dir.clone();
    // Loading takes its time; the folder is watched from before it begins.
    let (present, mut folder) = open(dir, fleet).await?;
    let mut sights = folder.sights();
    fleet.see(&Sight::default());
    fleet.forget_by(folder.forgetter());
    let starting = fleet.start(present);

    let input = async {
        // A broker's events wait in its queues; lines are handed to the plugins that are there.
        starting.await;
        if !from_input {
            return std::future::pending().await;
        }
        let (exchange, unasked) = (&settings.amqp.exchange, &Unasked::default());
        let ended = endpoints
            .read_input(exchange, |message| async move {
                let routing_key = message.routing_key.clone();
                unasked.note(&routing_key, fleet.deliver(message).await.len());
            })
            .await;
        unasked.tell();
        fleet.end_input();
        fleet.finished().await;
        ended
    };
    let changes = async {
        loop {
            // All wait for a channel, which loses nothing when the wait is dropped.
            tokio::select! {
                Some(change) = folder.changed() => fleet.follow(change),
                settings = config::changed(&mut config) => fleet.reconfigure(settings),
                sight = sights.changed() => fleet.see(&sight),
                Some(()) = asked.recv() => {
                    read_again(&config, settings, &reloads, &notify).await;
                    folder.look();
                    if let Some(settings) = config::changed(&mut config).now_or_never() {
                        fleet.reconfigure(settings);
                    }
                    notify.ready();
                }
            }
        }
    };
    let others = async {
        let secrets = endpoints.renew_secrets();
        tokio::join!(fleet.measure(), fleet.gather(), fleet.watch_topology(), secrets, changes);
    };
    tokio::select! {
        ended = input => ended,
        () = others => Ok(()),
    }
}

/// Makes the folder if need be and opens it, however long that takes: a file system may hang.
async fn open(dir: PathBuf, fleet: &Fleet) -> Result<(Vec<Change>, Folder)> {
    let scanning = Scanning::default();
    scanning.begin();
    let mut opening = tokio::task::spawn_blocking({
        let (dir, scanning) = (dir.clone(), scanning.clone());
        move || {
            make_default_folder(&dir)?;
            Folder::open(dir, scanning)
        }
    });
    // One that is large is read for longer than that.
    loop {
        match tokio::time::timeout(SLOW, &mut opening).await {
            Ok(opened) => return opened?,
            Err(_) if scanning.is_slow() => {
                fleet.see(&Sight::unanswered(&dir));
                return opening.await?;
            }
            Err(_) => {}
        }
    }
}

/// Makes the plugins' folder where nobody has named another one.
///
/// # Errors
/// It cannot be made; or somebody has named a folder that is not there, which may be a mistake;
/// or nobody can tell whether it is there.
fn make_default_folder(dir: &Path) -> Result<()> {
    let unreadable = || format!("the plugins' folder {} cannot be read", dir.display());
    if dir.try_exists().with_context(unreadable)? {
        return Ok(());
    }
    if dir != Plugins::default().dir {
        bail!(
            "the plugins' folder {} does not exist: make it, or name another one in [plugins] dir or \
             MO_ROUTER_PLUGINS_DIR",
            dir.display()
        );
    }
    info!("making the plugins' folder {}", dir.display());
    std::fs::create_dir_all(dir)
        .with_context(|| format!("making the plugins' folder {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_looked_at_is_not_taken_for_a_missing_one() {
        let dir = tempfile::TempDir::new().unwrap();
        let missing = make_default_folder(&dir.path().join("plugins")).unwrap_err().to_string();
        assert!(missing.contains("does not exist: make it"), "{missing}");
        let circle = dir.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        let unreadable = format!("{:#}", make_default_folder(&circle.join("plugins")).unwrap_err());
        assert!(unreadable.contains("cannot be read: Too many levels"), "{unreadable}");
    }
}

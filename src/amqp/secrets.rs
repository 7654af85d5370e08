//! A new secret for the connections that are open. An OAuth token expires, and from then on the
//! broker takes nothing on a connection that has not been told a newer one.

use std::time::Duration;

use lapin::ErrorKind;
use tracing::{debug, info, warn};

use super::broker::Broker;
use super::member::Member;
use crate::settings::{BrokerServer, Secret, ServerUrl};

/// How often the files are read. What is in them is used once two looks have seen the same: one
/// may be half written.
const LOOK: Duration = Duration::from_secs(3);

impl Broker {
    /// Reads the files that the user's password comes from, for ever, and tells the broker the new
    /// one on each connection that was made with another. Ends at once if there is no such file.
    pub async fn renew_secrets(&self) {
        let Some(setting) = self.settings().secret_setting() else { return };
        let (mut seen, mut refused) = (None, None);
        loop {
            tokio::time::sleep(LOOK).await;
            let servers = match self.access().servers().await {
                Ok(servers) => servers,
                // Whoever connects tells people of it.
                Err(error) => {
                    debug!("looking for a new password of the broker's user: {error:#}");
                    continue;
                }
            };
            let seen = seen.replace(servers.clone());
            if seen.as_ref() != Some(&servers) || refused.as_ref() == Some(&servers) {
                continue;
            }
            match self.renew(&servers).await {
                Ok(0) => {}
                Ok(connections) => {
                    info!(connections, "the broker took the new password of {setting}");
                }
                Err(error) => {
                    warn!(
                        "the broker refused the new password of {setting}, and closed the connection \
                         that was told of it: {error}; the other connections keep the old one, as long \
                         as it is valid: write a valid one to the file"
                    );
                    refused = Some(servers);
                }
            }
        }
    }

    /// Tells the broker on each connection; gives on how many. Ends when the files have changed
    /// meanwhile: a connection that was made since has what they have by now.
    ///
    /// # Errors
    /// It refuses the first, which ends that connection: the others are left alone.
    async fn renew(&self, servers: &[BrokerServer]) -> Result<usize, lapin::Error> {
        let mut renewed = 0;
        for pool in self.pools() {
            for member in pool.members().await {
                if newer(&*member.login.lock().await, servers).is_none() {
                    continue;
                }
                if self.access().servers().await.ok().as_deref() != Some(servers) {
                    return Ok(renewed);
                }
                match member.renew(servers).await {
                    Ok(is_renewed) => renewed += usize::from(is_renewed),
                    Err(error) if is_refusal(&error) => return Err(error),
                    // A new connection is made with what the file has by then.
                    Err(error) => debug!("renewing the password of a connection: {error}"),
                }
            }
        }
        Ok(renewed)
    }
}

/// Whether the broker refuses the secret: a connection can end for other reasons meanwhile, of
/// which the broker tells in the same way.
fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(_))
        && error.to_string().to_lowercase().contains("secret")
}

/// The password that `servers` have for a connection, if it is another than that of its `login`, and
/// the login with it.
fn newer<'a>(login: &ServerUrl, servers: &'a [BrokerServer]) -> Option<(Secret, &'a ServerUrl)> {
    servers.iter().find_map(|server| Some((login.newer_password(&server.url)?, &server.url)))
}

impl Member {
    /// Tells the broker the password that `servers` have for the connection, if it is another than
    /// the one that the broker was told last; whether it was.
    ///
    /// # Errors
    /// The broker refuses it; or the connection is lost.
    async fn renew(&self, servers: &[BrokerServer]) -> Result<bool, lapin::Error> {
        let status = self.connection.status();
        // Nothing is read from a blocked one. There is a next look.
        if !status.connected() || status.blocked() {
            return Ok(false);
        }
        let mut login = self.login.lock().await;
        let Some((password, url)) = newer(&login, servers) else { return Ok(false) };
        let told = self.connection.update_secret(
            password.expose().into(),
            "the file with the password has changed".into(),
        );
        match tokio::time::timeout(LOOK, told).await {
            Ok(answer) => answer?,
            // A broker that is slow has it all the same, or the next look tells it again.
            Err(_) => return Ok(false),
        }
        *login = url.clone();
        Ok(true)
    }
}

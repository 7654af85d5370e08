//! One document, one answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value as Json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::documents::{Document, Operation};
use super::failure::{self, Failure, SHOWN};
use super::http;
use super::stats::Stats;
use super::token::{self, Token};
use crate::event::shortened;
use crate::keep::fault;
use crate::requests::Agents;
use crate::settings::Mo;

/// How soon to ask again for a token where the old one is still good.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// A client of MO's GraphQL.
pub struct Client {
    settings: Mo,
    agents: Agents,
    /// None before it is first needed, and when MO does not accept it. Held while a new one is
    /// asked for, so that others wait for the same.
    token: Mutex<Option<Token>>,
    /// Whom the newest token is for. In a lock of its own, since whoever asks may not wait for
    /// Keycloak.
    identity: Mutex<Option<Uuid>>,
    stats: Stats,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `[mo] ca_file` cannot be read.
    pub fn new(settings: Mo, stats: Stats) -> Result<Self> {
        let agents = http::agents(settings.ca_file.clone())?;
        let (token, identity) = (Mutex::new(None), Mutex::new(None));
        Ok(Self { settings, agents, token, identity, stats })
    }

    /// The `[mo]` settings.
    pub fn settings(&self) -> &Mo {
        &self.settings
    }

    /// What was asked so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Sends a document, and gives the data of the answer. The request is finished even if
    /// nobody waits for it any more: MO would lease an event to nobody otherwise.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn ask(self: &Arc<Self>, document: Document) -> JoinHandle<Result<Json, Failure>> {
        let client = Arc::clone(self);
        tokio::task::spawn_blocking(move || client.ask_now(&document))
    }

    /// [`Client::ask`] for whoever waits.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn answer(self: &Arc<Self>, document: Document) -> Result<Json, Failure> {
        joined(self.ask(document).await)
    }

    /// Who MO takes this client for; none if that is unknown, or nobody in particular. It waits for
    /// no request.
    pub fn identity(&self) -> Option<Uuid> {
        *lock(&self.identity)
    }

    fn ask_now(&self, document: &Document) -> Result<Json, Failure> {
        let mut answer = self.attempt(document);
        // It may have expired by MO's clock, or Keycloak has other keys now.
        if matches!(answer, Err(Failure::Unauthenticated(_))) && lock(&self.token).take().is_some()
        {
            answer = self.attempt(document);
        }
        answer
    }

    fn attempt(&self, document: &Document) -> Result<Json, Failure> {
        let bearer = self.bearer()?;
        let answer = self.post(document, bearer);
        let outcome = answer.as_ref().map_or_else(Failure::outcome, |_| "ok");
        self.stats.requested(document.operation, outcome);
        answer
    }

    /// What goes into the header; none without a client to log in as.
    fn bearer(&self) -> Result<Option<String>, Failure> {
        let Some(client_id) = &self.settings.client_id else { return Ok(None) };
        let mut current = lock(&self.token);
        let token = match current.take() {
            Some(token) if Instant::now() < token.renew_at => token,
            old => match (self.ask_for_token(client_id), old) {
                (Ok(token), _) => token,
                // It is good for a while yet.
                (Err(Failure::Unavailable { .. }), Some(old)) if Instant::now() < old.ends_at => {
                    Token { renew_at: Instant::now() + RENEW_AGAIN, ..old }
                }
                (Err(failure), _) => return Err(failure),
            },
        };
        let bearer = format!("Bearer {}", token.secret.expose());
        *current = Some(token);
        Ok(Some(bearer))
    }

    fn ask_for_token(&self, client_id: &str) -> Result<Token, Failure> {
        let asked = token::request(&self.agents, &self.settings, client_id);
        let outcome = asked.as_ref().map_or_else(Failure::outcome, |_| "ok");
        self.stats.requested(Operation::Token, outcome);
        asked.inspect(|token| {
            self.stats.token_expires(token.expires);
            *lock(&self.identity) = token.identity;
        })
    }

    fn post(&self, document: &Document, bearer: Option<String>) -> Result<Json, Failure> {
        let Mo { url, api_version, .. } = &self.settings;
        let sent = self.agents.with(|agent| {
            let mut request = agent.post(url.join(&format!("/graphql/{api_version}")));
            if let Some(bearer) = bearer {
                request = request.header("authorization", bearer);
            }
            request.send_json(&document.body)
        });
        let (status, body) = http::read(sent, url)?;
        match status {
            200 => {}
            404 => {
                return Err(Failure::Forbidden(format!(
                    "{url} has no GraphQL {api_version}: set [mo] api_version to one that it has \
                     (v21 to v30 have events), or check [mo] url"
                )));
            }
            401 | 403 => {
                return Err(Failure::Unauthenticated(format!(
                    "{url} does not accept the login (status {status}): check [mo] client_id and \
                     client_secret"
                )));
            }
            _ => {
                let said = shortened(body.trim(), SHOWN);
                return Err(Failure::Forbidden(format!(
                    "{url} answers with status {status} {said:?}: check [mo] url"
                )));
            }
        }
        let mut answer: Json = serde_json::from_str(&body).map_err(|_| {
            let said = shortened(body.trim(), SHOWN);
            Failure::unavailable(format!("{url} does not answer in JSON, but {said:?}"))
        })?;
        match failure::of_answer(&answer, document.operation, &self.name()) {
            Some(failure) => Err(failure),
            None => match answer.get_mut("data").filter(|data| data.is_object()) {
                Some(data) => Ok(data.take()),
                None => Err(Failure::unavailable(format!(
                    "{url} answers in JSON, but not as GraphQL does: {}",
                    shortened(body.trim(), SHOWN)
                ))),
            },
        }
    }

    /// Who asks, for messages.
    fn name(&self) -> String {
        match &self.settings.client_id {
            Some(client_id) => format!("client {client_id:?}"),
            None => "a client that does not log in ([mo] client_id)".into(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a request came to, be it a fault of our own.
///
/// # Errors
/// See [`Failure`].
pub fn joined(
    answer: Result<Result<Json, Failure>, tokio::task::JoinError>,
) -> Result<Json, Failure> {
    match answer {
        Ok(answer) => answer,
        Err(error) => Err(Failure::unavailable(match error.try_into_panic() {
            Ok(panic) => fault(&*panic),
            Err(error) => format!("the request was not finished: {error}"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_the_token_is_for_can_be_asked_while_keycloak_is() {
        let client = Client::new(Mo::default(), Stats::default()).unwrap();
        let _asking = lock(&client.token);
        assert_eq!(client.identity(), None);
    }
}

//! The access token: OAuth's client credentials grant, as Keycloak offers it.
//!
//! The grant is one form that is posted. There is no refresh token: a new one is asked for.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::failure::{Failure, SHOWN};
use super::http;
use crate::event::{Datetime, shortened};
use crate::requests::Agents;
use crate::settings::{Mo, Secret, read_secret};

/// The part of a token's life after which it is renewed.
const RENEW_AFTER: f64 = 0.8;
/// How long a token is taken to live if the server does not say.
const DEFAULT_LIFE: u64 = 60;
/// And no token is trusted for longer than a day, in seconds.
const LONGEST_LIFE: u64 = 86_400;

/// A token, and when to ask for the next one. That is measured from when it came, by the
/// monotonic clock: what the servers' clocks show does not matter.
pub struct Token {
    /// What is sent to MO. Not for messages.
    pub secret: Secret,
    /// When to renew it.
    pub renew_at: Instant,
    /// When it is of no use any more.
    pub ends_at: Instant,
    /// The same, as people read it.
    pub expires: Datetime,
    /// Who MO takes the client for: the owner of what it declares. None for a client without
    /// an identity of its own, which shares one with all others.
    pub identity: Option<Uuid>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// OAuth's answer when there is no token.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// What MO reads in a token.
#[derive(Default, Deserialize)]
struct Claims {
    uuid: Option<Uuid>,
}

/// Asks for a token for a client.
///
/// # Errors
/// Keycloak cannot be reached, or gives no token. The secret is in no message.
pub fn request(agents: &Agents, settings: &Mo, client_id: &str) -> Result<Token, Failure> {
    let path = format!("/realms/{}/protocol/openid-connect/token", settings.auth_realm);
    let secret = secret(settings)?;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", secret.expose()),
    ];
    let asked = Instant::now();
    let sent = agents.with(|agent| agent.post(settings.auth_server.join(&path)).send_form(form));
    let (status, body) = http::read(sent, &settings.auth_server)?;
    if status != 200 {
        return Err(refusal(status, &body, settings, client_id));
    }
    let answer: Answer = serde_json::from_str(&body).map_err(|_| {
        Failure::unavailable(format!(
            "what {} answers is not a token: check [mo] auth_server and auth_realm",
            settings.auth_server
        ))
    })?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE));
    Ok(Token {
        renew_at: asked + life.mul_f64(RENEW_AFTER),
        ends_at: asked + life,
        expires: Datetime::now().saturating_add(life),
        identity: identity(&answer.access_token),
        secret: answer.access_token.into(),
    })
}

fn secret(settings: &Mo) -> Result<Secret, Failure> {
    let Some(file) = &settings.client_secret_file else {
        return settings.client_secret.clone().ok_or_else(|| {
            Failure::Unauthenticated(
                "[mo] client_id is set without a client_secret or client_secret_file".into(),
            )
        });
    };
    read_secret("[mo] client_secret_file", file)
        .map_err(|error| Failure::Unauthenticated(format!("{error:#}")))
}

fn refusal(status: u16, body: &str, settings: &Mo, client_id: &str) -> Failure {
    let server = &settings.auth_server;
    let Refusal { error, error_description } = serde_json::from_str(body).unwrap_or_default();
    let said = shortened(format!("{error} {error_description}").trim(), SHOWN);
    let (what, fix) = match status {
        404 => ("has no such realm", "auth_server and auth_realm"),
        _ => ("gives no token", "client_id and client_secret"),
    };
    Failure::Unauthenticated(format!(
        "Keycloak at {server} {what} for client {client_id:?} in realm {:?} (status {status}, \
         {said}): check [mo] {fix}",
        settings.auth_realm
    ))
}

/// The identity in a JSON Web Token. Its signature is MO's business.
fn identity(token: &str) -> Option<Uuid> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok()?.uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_in_the_token() {
        let uuid = Uuid::from_u128(7);
        let of = |claims: &str| {
            identity(&format!("e30.{}.signature", BASE64_URL_SAFE_NO_PAD.encode(claims)))
        };
        assert_eq!(of(&format!("{{\"uuid\": \"{uuid}\", \"azp\": \"x\"}}")), Some(uuid));
        assert_eq!(of("{}"), None);
        assert_eq!(identity("opaque"), None);
    }

    #[test]
    fn the_secret_is_read_as_any_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\r\n").unwrap();
        let of = |file| secret(&Mo { client_secret_file: Some(file), ..Mo::default() });
        assert_eq!(of(file.path().to_owned()).ok().unwrap().expose(), "hush");
        let failure = of("/nowhere/s".into()).err().unwrap().to_string();
        assert!(failure.contains("[mo] client_secret_file \"/nowhere/s\": No such"), "{failure}");
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        let body = r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#;
        let refused = refusal(401, body, &Mo::default(), "router").to_string();
        assert!(refused.contains("Invalid client credentials"), "{refused}");
        assert!(refused.contains("client_id and client_secret"), "{refused}");
        let missing = refusal(404, "", &Mo::default(), "router").to_string();
        assert!(missing.contains("auth_realm"), "{missing}");
    }
}

//! What can go wrong with a request, and what to do about it.
//!
//! MO answers with status 200 and `errors`, whatever was wrong.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use super::documents::Operation;
use crate::event::shortened;

/// The most bytes that are shown of what a server says.
pub const SHOWN: usize = 300;

/// Why a request was not answered as it should be. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server cannot be reached, or cannot answer now. Whether it did what was asked is
    /// unknown.
    #[error("{text}")]
    Unavailable {
        /// What happened.
        text: String,
        /// How long it wants not to be asked.
        retry_after: Option<Duration>,
    },
    /// MO does not know the token, or there is none.
    #[error("{0}")]
    Unauthenticated(String),
    /// The client may not do that, or the server does not offer it: whatever was asked.
    #[error("{0}")]
    Forbidden(String),
    /// What was asked cannot be done; something else could be. With several fields in a request,
    /// none of them was done.
    #[error("{0}")]
    Rejected(String),
}

/// The errors of MO's answer.
#[derive(Deserialize)]
struct GraphQlError {
    message: String,
}

impl Failure {
    /// What happened, for a metric.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The server cannot answer now.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable { text: text.into(), retry_after: None }
    }

    /// How long the server wants not to be asked.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Unauthenticated(_) | Self::Forbidden(_) | Self::Rejected(_) => None,
        }
    }
}

/// What the errors of an answer mean; none if there are none. `client` is who asks.
pub fn of_answer(answer: &Json, operation: Operation, client: &str) -> Option<Failure> {
    let errors = answer.get("errors").filter(|errors| !errors.is_null())?;
    let errors = Vec::<GraphQlError>::deserialize(errors).unwrap_or_default();
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    let said = match messages.is_empty() {
        true => "errors that cannot be read".to_owned(),
        false => shortened(&messages.join("; "), SHOWN),
    };
    let has = |text: &str| messages.iter().any(|message| message.contains(text));
    let what = operation.as_str();
    Some(if has("not authenticated") {
        Failure::Unauthenticated(format!(
            "MO does not accept the login ({said}): check [mo] client_id, client_secret, \
             auth_server and auth_realm"
        ))
    } else if has("No policy approved") {
        let role = operation.role();
        Failure::Forbidden(format!(
            "MO does not permit {client} to {what} ({said}): give it the role {role:?}"
        ))
    } else if has("Cannot query field") || has("Unknown type") || has("Unknown argument") {
        Failure::Forbidden(format!(
            "MO's GraphQL does not know {what} as it is asked here ({said}): set [mo] api_version \
             to one of v21 to v30"
        ))
    } else if has("Namespace does not exist") {
        Failure::Rejected(format!("{said}: check the name; is this MO older than April 2025?"))
    } else if has("a different routing_key") {
        Failure::Rejected(format!(
            "{said}: another program uses these names; set [mo] user_key to another one"
        ))
    } else if messages.iter().any(|message| is_of_its_database(message)) {
        Failure::unavailable(format!("MO cannot {what} now, since its database fails: {said}"))
    } else {
        Failure::Rejected(format!("MO refuses to {what}: {said}"))
    })
}

/// Whether the error is that of MO's database, and not of what was asked: MO hands on what its
/// libraries say.
fn is_of_its_database(message: &str) -> bool {
    let is_from_there =
        ["psycopg", "sqlalchemy", "OperationalError"].iter().any(|name| message.contains(name));
    is_from_there && !message.contains("DataError")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(message: &str) -> Failure {
        let answer = json!({ "data": null, "errors": [{ "message": message }] });
        of_answer(&answer, Operation::Fetch, "client \"router\"").unwrap()
    }

    #[test]
    fn each_kind_says_what_to_do() {
        for (message, outcome, fix) in [
            ("User is not authenticated", "unauthenticated", "client_secret"),
            ("No policy approved the access", "forbidden", "the role \"fetch_event\""),
            ("Cannot query field 'event_fetch' on type 'Query'.", "forbidden", "[mo] api_version"),
            ("Namespace does not exist", "rejected", "check the name"),
            (
                "There already exists a listener with this user_key and a different routing_key",
                "rejected",
                "[mo] user_key",
            ),
            ("Could not parse EventToken", "rejected", "Could not parse EventToken"),
            (
                "(psycopg.OperationalError) the connection is closed",
                "unavailable",
                "its database fails",
            ),
            (
                "(sqlalchemy.exc.TimeoutError) QueuePool limit of size 10 reached",
                "unavailable",
                "QueuePool",
            ),
            (
                "(psycopg.DataError) PostgreSQL text fields cannot contain NUL (0x00) bytes",
                "rejected",
                "NUL",
            ),
        ] {
            let failure = of(message);
            assert_eq!(failure.outcome(), outcome, "{message}");
            assert!(failure.to_string().contains(fix), "{failure}");
        }
    }

    #[test]
    fn an_answer_without_errors_is_none() {
        let none = |answer| of_answer(&answer, Operation::Fetch, "nobody").is_none();
        assert!(none(json!({ "data": {} })) && none(json!({ "data": {}, "errors": null })));
        assert!(!none(json!({ "errors": "?" })));
    }
}

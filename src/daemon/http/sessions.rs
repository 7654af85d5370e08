//! Those who have shown the token, and are known by a cookie since.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blake3::Hash;
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use uuid::Uuid;

/// How many there may be at once; the oldest one ends for one more.
const MOST: usize = 100;
/// How long one lasts.
pub const LASTS: Duration = Duration::from_hours(12);
/// How many bytes of a name are kept.
const NAME: usize = 60;

/// Somebody who has shown the token.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the cookie holds.
    pub id: String,
    /// What requests that change something say besides: a page from elsewhere does not know it.
    pub csrf: String,
    /// Who it is, as they say.
    pub who: String,
    /// Of the token that was shown.
    token: Hash,
    ends: Instant,
}

impl Session {
    /// Whether this is the token that was shown. How long it takes tells nothing of where they
    /// differ.
    pub fn began_with(&self, token: &str) -> bool {
        self.token == blake3::hash(token.as_bytes())
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<VecDeque<Session>>);

impl Sessions {
    /// Begins one of somebody who has shown this token.
    pub fn begin(&self, token: &str, who: &str) -> Session {
        let who = who.trim();
        let who = match who.is_empty() {
            true => "somebody",
            false => &who[..who.floor_char_boundary(NAME)],
        };
        let secret = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let session = Session {
            id: secret(),
            csrf: secret(),
            who: who.to_owned(),
            token: blake3::hash(token.as_bytes()),
            ends: Instant::now() + LASTS,
        };
        let mut sessions = self.lasting();
        if sessions.len() == MOST {
            sessions.pop_front();
        }
        sessions.push_back(session.clone());
        session
    }

    /// The one with this id.
    pub fn find(&self, id: &str) -> Option<Session> {
        self.lasting().iter().find(|session| is_same(&session.id, id)).cloned()
    }

    /// Ends it.
    pub fn end(&self, id: &str) {
        self.lasting().retain(|session| !is_same(&session.id, id));
    }

    fn lasting(&self) -> MutexGuard<'_, VecDeque<Session>> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|session| session.ends > now);
        sessions
    }
}

/// Whether two secrets are the same. How long it takes tells nothing of where they differ.
pub fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends() {
        let sessions = Sessions::default();
        let [one, other] = ["a", " "].map(|who| sessions.begin("token", who));
        assert_eq!(sessions.find(&one.id).unwrap().who, "a");
        assert_eq!(sessions.find(&other.id).unwrap().who, "somebody");
        sessions.end(&one.id);
        assert!(sessions.find(&one.id).is_none());
        tokio::time::advance(LASTS).await;
        assert!(sessions.find(&other.id).is_none());
    }

    #[tokio::test]
    async fn there_are_not_more_than_so_many() {
        let sessions = Sessions::default();
        let first = sessions.begin("token", "first");
        (0..MOST).for_each(|_| drop(sessions.begin("token", "other")));
        assert!(sessions.find(&first.id).is_none());
    }
}

//! Who may do what over HTTP.
//!
//! Looking is free to whoever reaches the address. Changing something takes the token: in each
//! request, as commands send it, or once, for a cookie. A browser sends its cookie along with
//! what pages from elsewhere ask for, too. So that alone is not enough: a request has to come
//! from the page itself, and to say what only that knows. And a page from elsewhere must not
//! pass for this one by a name that leads here: names are allowed one by one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::Shared;
use super::failure::Failure;
use super::sessions::{LASTS, Session, Sessions, is_same};
use crate::logging::CHANGES;
use crate::settings::{self, read_token};
use crate::unhung::{PATIENCE, Turns};

/// The header that says what only the page knows.
const CSRF: &str = "x-mo-router-csrf";
/// How long a wrong token takes. They are looked at one after the other.
const WRONG: Duration = Duration::from_millis(300);

/// Nothing from elsewhere, no script or style in the page itself, no markup from text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types lit-html";

/// The token, and those who have shown it.
pub struct Guard {
    settings: settings::Http,
    /// The cookie's name. It has the port: a browser sends the cookies of a host to all of its ports,
    /// and there may be several routers.
    cookie: String,
    sessions: Sessions,
    /// Held while a wrong token is answered.
    wrong: Mutex<()>,
    /// Of those who read the token.
    reading: Turns,
}

/// Somebody who may change something.
#[derive(Debug)]
pub struct Changer {
    who: String,
    from: String,
}

impl Guard {
    /// With these settings, on this port, and nobody known.
    pub fn new(settings: settings::Http, port: u16) -> Self {
        let cookie = format!("mo-router-{port}");
        Self {
            settings,
            cookie,
            sessions: Sessions::default(),
            wrong: Mutex::default(),
            reading: Turns::default(),
        }
    }

    /// Whether there is a token at all.
    pub fn has_token(&self) -> bool {
        self.settings.token_file.is_some()
    }

    /// Begins a session of somebody who shows the token.
    ///
    /// # Errors
    /// It is not the token, or there is none.
    pub async fn begin(&self, token: &str, who: &str) -> Result<Session, Failure> {
        self.check(token).await?;
        Ok(self.sessions.begin(token, who))
    }

    /// Ends the session that a request's cookie names.
    pub fn end(&self, headers: &HeaderMap) {
        if let Some(session) = self.named(headers) {
            self.sessions.end(&session.id);
        }
    }

    /// The session that a request's cookie names. One that began with another token than that of
    /// now ends: whoever replaces a token means those who know the old one.
    ///
    /// # Errors
    /// There is one, and the token cannot be read.
    pub async fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, Failure> {
        let Some(session) = self.named(headers) else { return Ok(None) };
        if session.began_with(&self.token().await?) {
            return Ok(Some(session));
        }
        self.sessions.end(&session.id);
        Ok(None)
    }

    fn named(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
        let id =
            pairs.find_map(|pair| pair.trim().strip_prefix(&self.cookie)?.strip_prefix('='))?;
        self.sessions.find(id)
    }

    /// What the browser is told to keep, or to forget.
    pub fn cookie(&self, session: Option<&Session>) -> String {
        let (id, age) = match session {
            Some(session) => (session.id.as_str(), LASTS.as_secs()),
            None => ("", 0),
        };
        format!("{}={id}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict", self.cookie)
    }

    /// Whether this is the token.
    ///
    /// # Errors
    /// It is not, or there is none.
    pub async fn check(&self, token: &str) -> Result<(), Failure> {
        let right = self.token().await?;
        if is_same(&right, token) {
            return Ok(());
        }
        let _one = self.wrong.lock().await;
        tokio::time::sleep(WRONG).await;
        Err(Failure::forbidden("this is not the token that [http] token_file holds"))
    }

    async fn token(&self) -> Result<String, Failure> {
        let Some(file) = self.settings.token_file.clone() else {
            return Err(Failure::forbidden(
                "nothing can be changed over HTTP: set [http] token_file to a file with a token",
            ));
        };
        match self.reading.answer_within(PATIENCE, move || read_token(&file)).await {
            Some(Ok(token)) => Ok(token.expose().to_owned()),
            Some(Err(error)) => Err(Failure::forbidden(format!("{error:#}"))),
            None => Err(Failure::unavailable(
                "the file system of [http] token_file does not answer, and nothing can be changed",
            )),
        }
    }

    /// Who wants to change something, if they may.
    async fn changer(&self, headers: &HeaderMap) -> Result<String, Failure> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            return self.check(token.trim()).await.map(|()| "a command".to_owned());
        }
        let Some(session) = self.session(headers).await? else {
            self.token().await?;
            return Err(Failure::new(
                StatusCode::UNAUTHORIZED,
                "this takes the token of [http] token_file",
            ));
        };
        let said = headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match is_same(&session.csrf, said) {
            true => Ok(session.who),
            false => Err(Failure::forbidden("this was not asked for by the page itself")),
        }
    }

    /// Whether a browser may ask for the page under this name.
    fn allows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => host.split(':').next().unwrap_or(host),
        };
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

impl Changer {
    /// Somebody, in tests.
    #[cfg(test)]
    pub fn somebody() -> Self {
        Self { who: "somebody".to_owned(), from: "?".to_owned() }
    }

    /// Notes in the log what was changed, which nothing keeps out of it.
    pub fn log(&self, what: &str) {
        info!(target: CHANGES, who = self.who, from = self.from, "changed over HTTP: {what}");
    }

    /// Notes in the log what was to be changed, and why not all of it was.
    pub fn log_failure(&self, what: &str, why: impl fmt::Display) {
        warn!(
            target: CHANGES,
            who = self.who,
            from = self.from,
            "a change over HTTP failed, wholly or in part: {what}: {why}"
        );
    }
}

impl FromRequestParts<Shared> for Changer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Failure> {
        let from = match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(address)) => address.to_string(),
            None => "?".to_owned(),
        };
        let changer = shared.guard.changer(&parts.headers).await;
        match changer {
            Ok(who) => Ok(Self { who, from }),
            Err(failure) => {
                let path = parts.uri.path();
                warn!(from, path, "refused over HTTP: {failure}");
                Err(failure)
            }
        }
    }
}

/// Lets through what comes from the page itself or from a program, and closes the page to
/// whatever is not its own.
pub async fn protect(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&shared.guard, request.method(), request.headers()) {
        Some(failure) => failure.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
    response
}

fn refusal(guard: &Guard, method: &Method, headers: &HeaderMap) -> Option<Failure> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    if !guard.allows(host) {
        let text = format!("host {host:?} is not allowed: name it in [http] allowed_hosts");
        return Some(Failure::new(StatusCode::MISDIRECTED_REQUEST, text));
    }
    // A link from elsewhere may lead here, but nothing there may ask for what is here: to read
    // dead letters takes them out of their queue for a moment.
    let fetch = |name| text(HeaderName::from_static(name));
    let is_link = matches!(*method, Method::GET | Method::HEAD)
        && fetch("sec-fetch-mode") == Some("navigate")
        && fetch("sec-fetch-dest").is_none_or(|destination| destination == "document");
    let is_own_site = is_link
        || fetch("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = text(ORIGIN).map(|origin| origin.split_once("://").map(|(_, host)| host));
    let is_own_origin = origin.is_none_or(|origin| origin == Some(host));
    let is_own = is_own_site && is_own_origin;
    (!is_own).then(|| Failure::forbidden("this was asked for by a page from elsewhere"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn guard() -> Guard {
        let allowed_hosts = vec!["router.example.org".to_owned()];
        Guard::new(settings::Http { allowed_hosts, ..settings::Http::default() }, 9095)
    }

    /// One that reads its token there.
    fn guard_of(file: &Path) -> Guard {
        let token_file = Some(file.to_owned());
        Guard::new(settings::Http { token_file, ..settings::Http::default() }, 9095)
    }

    /// What the page sends in a session.
    fn headers_of(guard: &Guard, session: &Session) -> HeaderMap {
        let cookie = guard.cookie(Some(session));
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap());
        headers.insert(CSRF, HeaderValue::from_str(&session.csrf).unwrap());
        headers
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn names_are_allowed_one_by_one() {
        let guard = guard();
        for host in ["127.0.0.1:9095", "[::1]:80", "LOCALHOST", "router.example.org:443"] {
            assert!(guard.allows(host), "{host}");
        }
        for host in ["", "evil.example.org", "127.0.0.1.evil.org", "router.example.org.evil"] {
            assert!(!guard.allows(host), "{host}");
        }
    }

    #[test]
    fn what_a_page_from_elsewhere_asks_for_is_refused() {
        let guard = guard();
        let refused = |method: Method, pairs: &[_]| {
            let host = [("host", "localhost:1")];
            refusal(&guard, &method, &headers(&[&host[..], pairs].concat())).is_some()
        };
        assert!(!refused(Method::POST, &[]));
        assert!(!refused(Method::POST, &[("origin", "http://localhost:1")]));
        assert!(!refused(Method::POST, &[("sec-fetch-site", "same-origin")]));
        assert!(refused(Method::POST, &[("origin", "http://localhost:2")]));
        assert!(refused(Method::POST, &[("origin", "null")]));
        assert!(refused(Method::POST, &[("sec-fetch-site", "cross-site")]));
        assert!(refused(Method::DELETE, &[("sec-fetch-site", "same-site")]));
        // A link, but no picture, script or frame, nor what a script asks for.
        for site in ["cross-site", "same-site"] {
            let from = ("sec-fetch-site", site);
            let link = [from, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert!(!refused(Method::GET, &link) && !refused(Method::GET, &link[..2]));
            assert!(refused(Method::POST, &link), "a form");
            assert!(refused(Method::GET, &[from, link[1], ("sec-fetch-dest", "iframe")]));
            for mode in ["no-cors", "cors", "websocket"] {
                assert!(refused(Method::GET, &[from, ("sec-fetch-mode", mode)]), "{mode}");
            }
            assert!(refused(Method::GET, &[from]));
        }
        assert!(!refused(Method::GET, &[("sec-fetch-site", "same-origin")]));
        assert!(refused(Method::GET, &[("origin", "http://localhost:2")]));
    }

    #[tokio::test]
    async fn a_cookie_alone_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TOKEN).unwrap();
        let guard = guard_of(file.path());
        let session = guard.begin(TOKEN, "me").await.unwrap();
        let mut headers = HeaderMap::new();
        // That of another router on this host is none here.
        let other = format!("mo-router-9096={}", session.id);
        headers.insert(COOKIE, HeaderValue::from_str(&other).unwrap());
        assert!(guard.session(&headers).await.unwrap().is_none());
        let cookie = guard.cookie(Some(&session));
        let pair = format!("{other}; {}", cookie.split(';').next().unwrap());
        headers.insert(COOKIE, HeaderValue::from_str(&pair).unwrap());
        assert!(guard.session(&headers).await.unwrap().is_some());
        assert!(guard.changer(&headers).await.is_err());
        headers.insert(CSRF, HeaderValue::from_str(&session.csrf).unwrap());
        assert_eq!(guard.changer(&headers).await.unwrap(), "me");
        guard.end(&headers);
        assert!(guard.changer(&headers).await.is_err());
    }

    #[tokio::test]
    async fn a_session_ends_with_the_token_that_it_began_with() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("token");
        let guard = guard_of(&file);
        std::fs::write(&file, TOKEN).unwrap();
        let session = guard.begin(TOKEN, "me").await.unwrap();
        let headers = headers_of(&guard, &session);
        assert_eq!(guard.changer(&headers).await.unwrap(), "me");
        // While there is none, nothing can be changed.
        std::fs::remove_file(&file).unwrap();
        let gone = guard.changer(&headers).await.unwrap_err().to_string();
        assert!(gone.contains("[http] token_file"), "{gone}");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        assert_eq!(guard.changer(&headers).await.unwrap(), "me");
        std::fs::write(&file, "another of this length").unwrap();
        let replaced = guard.changer(&headers).await.unwrap_err().to_string();
        assert!(replaced.contains("this takes the token"), "{replaced}");
        // For good.
        std::fs::write(&file, TOKEN).unwrap();
        assert!(guard.changer(&headers).await.is_err());
    }

    #[tokio::test]
    async fn a_token_that_is_not_given_keeps_nobody_else_waiting() {
        let dir = tempfile::TempDir::new().unwrap();
        // It gives nothing until somebody writes.
        let pipe = dir.path().join("token");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let guard = guard_of(&pipe);
        let (done, written) = std::sync::mpsc::sync_channel(0);
        let writing = std::thread::spawn(move || {
            // Should the test hang, this ends it.
            let _ = written.recv_timeout(4 * PATIENCE);
            drop(std::fs::File::options().write(true).open(pipe));
        });
        let asked = futures::future::join_all([guard.check("one"), guard.check("another")]).await;
        for failed in asked {
            let failure = failed.unwrap_err().to_string();
            assert!(failure.contains("does not answer"), "{failure}");
        }
        done.send(()).unwrap();
        writing.join().unwrap();
    }

    #[tokio::test]
    async fn a_token_is_read_from_its_file_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let guard = guard_of(file.path());
        std::fs::write(file.path(), "short").unwrap();
        assert!(guard.check("short").await.is_err());
        std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
        assert!(guard.check(TOKEN).await.is_ok());
        assert!(guard.check("0123456789abcdeg").await.is_err());
    }
}

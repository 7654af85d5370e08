//! Who may ask what over HTTP. A browser on this machine can be made to ask by any page that it
//! shows: so the names in a request are looked at, and changes need a token.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::escape::escaped;
use crate::settings::{self, read_secret};

/// What is let through.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    allowed_hosts: Vec<String>,
    token_file: Option<PathBuf>,
}

/// Why a request is not let through.
type Refusal = (StatusCode, String);

impl Guard {
    /// As the settings say.
    pub(super) fn new(settings: &settings::Http) -> Self {
        let settings::Http { allowed_hosts, token_file, .. } = settings.clone();
        Self(Arc::new(Rules { allowed_hosts, token_file }))
    }

    /// Lets a request through, or answers it.
    pub(super) async fn pass(State(guard): State<Self>, request: Request, next: Next) -> Response {
        match guard.0.check(request.method(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err((status, text)) => {
                let scheme = [(WWW_AUTHENTICATE, "Bearer")];
                match status {
                    StatusCode::UNAUTHORIZED => (status, scheme, text).into_response(),
                    _ => (status, text).into_response(),
                }
            }
        }
    }
}

impl Rules {
    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str());
        // Only programs that speak HTTP/1.0 send none.
        let host = text(HOST).unwrap_or(Ok("localhost")).unwrap_or_default();
        if !self.is_allowed(name_of(host)) {
            let host = escaped(host);
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                format!("{host:?} is no name of this router: add it to [http] allowed_hosts\n"),
            ));
        }
        if let Some(origin) = text(ORIGIN) {
            let origin = origin.unwrap_or_default();
            let is_own =
                origin.split_once("://").is_some_and(|(_, own)| own.eq_ignore_ascii_case(host));
            if !is_own {
                let origin = escaped(origin);
                let text = format!("a page of {origin:?} may not ask this router\n");
                return Err((StatusCode::FORBIDDEN, text));
            }
        }
        match *method {
            Method::GET | Method::HEAD => Ok(()),
            _ => self.check_token(text(AUTHORIZATION).and_then(Result::ok)),
        }
    }

    /// An address cannot be made to lead elsewhere, as a name can.
    fn is_allowed(&self, name: &str) -> bool {
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    fn check_token(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let Some(file) = &self.token_file else {
            let text = "nothing can be changed over HTTP without a token: name a file that holds one \
                        in [http] token_file, in the settings of the router and of whoever asks\n";
            return Err((StatusCode::FORBIDDEN, text.into()));
        };
        let token = read_secret("[http] token_file", file).map_err(|error| {
            (StatusCode::FORBIDDEN, format!("{}\n", escaped(&format!("{error:#}"))))
        })?;
        // How long it takes says nothing of the token.
        let digest = |token: &str| Sha256::digest(token.as_bytes());
        let given = authorization.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        match !token.expose().is_empty() && digest(given) == digest(token.expose()) {
            true => Ok(()),
            false => Err((
                StatusCode::UNAUTHORIZED,
                "the token is not that of the router's [http] token_file\n".into(),
            )),
        }
    }
}

/// The host without its port, an IPv6 address without its brackets.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn asked(method: Method, headers: &[(HeaderName, &str)], token: Option<&str>) -> u16 {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), token.unwrap_or_default()).unwrap();
        let rules = Rules {
            allowed_hosts: vec!["router.example.org".into()],
            token_file: token.map(|_| file.path().into()),
        };
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        rules.check(&method, &headers).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn only_names_of_this_router_are_answered() {
        for (host, status) in [
            ("127.0.0.1:9095", 200),
            ("[::1]:9095", 200),
            ("10.1.2.3", 200),
            ("LOCALHOST:9095", 200),
            ("Router.example.org:9095", 200),
            ("router.example.org.evil.example:9095", 421),
            ("evil.example", 421),
            ("", 421),
        ] {
            assert_eq!(asked(Method::GET, &[(HOST, host)], None), status, "{host}");
        }
        assert_eq!(asked(Method::GET, &[], None), 200);
    }

    #[test]
    fn only_pages_of_this_router_may_ask() {
        for (origin, status) in [
            ("http://127.0.0.1:9095", 200),
            ("http://127.0.0.1:8000", 403),
            ("https://evil.example", 403),
            ("null", 403),
        ] {
            let headers = [(HOST, "127.0.0.1:9095"), (ORIGIN, origin)];
            assert_eq!(asked(Method::GET, &headers, None), status, "{origin}");
        }
    }

    #[test]
    fn changes_need_the_token() {
        let post = |authorization: &str, token| {
            asked(Method::POST, &[(HOST, "localhost"), (AUTHORIZATION, authorization)], token)
        };
        assert_eq!(post("Bearer x", None), 403);
        assert_eq!(post("Bearer ", Some("")), 401);
        assert_eq!(post("Bearer x", Some("secret\n")), 401);
        assert_eq!(post("Basic secret", Some("secret")), 401);
        assert_eq!(post("Bearer secret", Some("secret\n")), 200);
        assert_eq!(asked(Method::DELETE, &[(HOST, "localhost")], Some("secret")), 401);
    }
}

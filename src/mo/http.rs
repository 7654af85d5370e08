//! Requests to MO and to Keycloak.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use ureq::{Body, http::Response};

use super::failure::{Failure, SHOWN};
use crate::event::{Datetime, shortened};
use crate::requests::{Agents, Server, is_of_certificate, retry_after};
use crate::settings::HttpUrl;

/// How long a request may take: MO is slow when it is busy.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle before another one is made: MO's server closes it after 5 s,
/// and a request that crosses that is lost.
const MAX_IDLE: Duration = Duration::from_secs(3);
/// The largest answer, in bytes: what a backlog of 100,000 events is when it is listed.
const LARGEST: u64 = 32 << 20;

/// What sends requests. Connections are kept.
///
/// # Errors
/// The file with certificates cannot be read, or has none.
pub fn agents(ca_file: Option<PathBuf>) -> Result<Agents> {
    Agents::new(Server {
        ca_file,
        ca_setting: "[mo] ca_file",
        timeout: TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
        max_idle: MAX_IDLE,
    })
}

/// The status and the body of what a server answers.
///
/// # Errors
/// It does not answer, or says that it cannot now.
pub fn read(
    sent: Result<Response<Body>, ureq::Error>,
    server: &HttpUrl,
) -> Result<(u16, String), Failure> {
    let mut answer = sent.map_err(|error| unreachable_error(server, &error))?;
    let status = answer.status().as_u16();
    let header = answer.headers().get("retry-after");
    let wait = header.and_then(|text| retry_after(text.to_str().ok()?, Datetime::now()));
    let body = answer.body_mut().with_config().limit(LARGEST).lossy_utf8(true).read_to_string();
    let body = body.map_err(|error| unreachable_error(server, &error))?;
    if status >= 500 || status == 429 || status == 408 {
        let said = shortened(body.trim(), SHOWN);
        return Err(Failure::Unavailable {
            text: format!("{server} cannot answer now: status {status} {said:?}"),
            retry_after: wait,
        });
    }
    Ok((status, body))
}

fn unreachable_error(server: &HttpUrl, error: &ureq::Error) -> Failure {
    let fix = match is_of_certificate(error) {
        true => ": name the authority that signed it in [mo] ca_file",
        false => "",
    };
    Failure::unavailable(format!("{server} does not answer: {error}{fix}"))
}

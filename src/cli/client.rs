//! Questions and orders to the running router, over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use crate::settings::{Settings, read_secret};

/// How long the router may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which router.
#[derive(Debug, clap::Args)]
pub struct Router {
    /// Where the router's HTTP listens, as `IP:PORT` [default: [http] listen]
    #[arg(long, value_parser = address)]
    address: Option<SocketAddr>,
}

impl Router {
    /// Asks for the router's status.
    ///
    /// # Errors
    /// Nothing answers at the address, or not a router.
    pub async fn status(&self, settings: &Settings) -> Result<Json> {
        let status = self.ask(settings, "status", |agent, url| agent.get(url).call()).await?;
        serde_json::from_str(&status)
            .context("the answer is not a router's status: is this the router's address?")
    }

    /// Asks the router for something else; returns what it answers.
    ///
    /// # Errors
    /// Nothing answers at the address, or the router refuses.
    pub async fn get(&self, settings: &Settings, path: &str) -> Result<String> {
        self.ask(settings, path, |agent, url| agent.get(url).call()).await
    }

    /// Gives the router an order; returns what it answers.
    ///
    /// # Errors
    /// Nothing answers at the address, or the router refuses; or the token cannot be read.
    pub async fn post(&self, settings: &Settings, path: &str) -> Result<String> {
        let file = settings.http.token_file.as_deref();
        let token = file.map(|file| read_secret("[http] token_file", file)).transpose()?;
        self.ask(settings, path, move |agent, url| {
            let post = agent.post(url);
            let post = match &token {
                Some(token) => {
                    post.header("Authorization", format!("Bearer {}", token.expose().trim()))
                }
                None => post,
            };
            post.send_empty()
        })
        .await
    }

    async fn ask(
        &self,
        settings: &Settings,
        path: &str,
        call: impl FnOnce(&ureq::Agent, &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>
        + Send
        + 'static,
    ) -> Result<String> {
        let address = self.address.unwrap_or(settings.http.listen);
        let url = format!("http://{address}/{path}");
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .timeout_global(Some(PATIENCE))
                .http_status_as_error(false)
                .build()
                .into();
            let mut answer = call(&agent, &url).with_context(|| {
                format!("no router answers at {url}: is it running, with this [http] listen?")
            })?;
            let text =
                answer.body_mut().read_to_string().with_context(|| format!("reading {url}"))?;
            match answer.status().is_success() {
                true => Ok(text),
                false => bail!("{}", reason(&text)),
            }
        })
        .await?
    }
}

/// `IP:PORT`, alone or as the page's URL has it.
fn address(text: &str) -> Result<SocketAddr> {
    let url = text.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    url.unwrap_or(text).parse().with_context(|| {
        format!("{text:?} must be an IP address and a port, such as 127.0.0.1:9095 or [::]:9095")
    })
}

/// Why the router refuses: the page's addresses say it in JSON.
fn reason(text: &str) -> String {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    json["error"].as_str().unwrap_or(text.trim_end()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_a_port_or_the_pages_url() {
        for text in ["127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080/#/tail"] {
            assert_eq!(address(text).unwrap().to_string(), "127.0.0.1:8080", "{text}");
        }
        assert_eq!(address("http://[::1]:8080/").unwrap().to_string(), "[::1]:8080");
        for text in ["http://localhost:8080", "https://127.0.0.1:8080", "127.0.0.1", "8080", ""] {
            let error = address(text).unwrap_err().to_string();
            let form = "must be an IP address and a port, such as 127.0.0.1:9095";
            assert!(error.contains(text) && error.contains(form), "{error}");
        }
    }
}

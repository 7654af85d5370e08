//! Questions and orders to the running router, over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use crate::settings::Settings;

/// How long the router may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which router.
#[derive(Debug, clap::Args)]
pub struct Router {
    /// The router's HTTP address [default: [http] listen]
    #[arg(long)]
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
    /// Nothing answers at the address, or the router refuses.
    pub async fn post(&self, settings: &Settings, path: &str) -> Result<String> {
        self.ask(settings, path, |agent, url| agent.post(url).send_empty()).await
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
                false => bail!("{}", text.trim_end()),
            }
        })
        .await?
    }
}

//! Sends spans: OTLP over HTTP, as protobuf.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use prost::Message as _;

use crate::backoff::{Backoff, Policy};
use crate::event::{Datetime, shortened};
use crate::health::{Code, Health};
use crate::requests::{self, Agents, Server};
use crate::settings::{HttpUrl, Telemetry};
use crate::telemetry::proto::{
    KeyValue, Request, Resource, ResourceSpans, Response, Scope, ScopeSpans,
};
use crate::telemetry::queue::Queue;
use crate::telemetry::span::Span;

/// What is in trouble when spans cannot be sent.
pub const SUBJECT: &str = "collector";

/// How many times spans are tried to be sent.
const ATTEMPTS: u32 = 5;
/// The pauses before spans are sent again.
const PAUSES: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(30));
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are read.
const LARGEST: u64 = 64 << 10;
/// The most bytes that are shown of what a collector says.
const SHOWN: usize = 200;

/// A collector, and who sends to it.
pub struct Collector {
    url: HttpUrl,
    agents: Agents,
    headers: Vec<(String, String)>,
    resource: Resource,
}

impl Collector {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The file with certificates cannot be read.
    pub fn new(settings: &Telemetry, url: HttpUrl) -> Result<Self> {
        let otel = &settings.otel;
        let agents = Agents::new(Server {
            ca_file: otel.ca_file.clone(),
            ca_setting: "OTEL_EXPORTER_OTLP_CERTIFICATE",
            timeout: otel.timeout,
            connect_timeout: CONNECT_TIMEOUT.min(otel.timeout),
            max_idle: Duration::from_secs(30),
        })?;
        let headers = otel.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.expose().to_owned()));
        Ok(Self { url, agents, headers: headers.collect(), resource: resource(settings) })
    }

    fn send(&self, body: &[u8]) -> Result<Response, Failure> {
        let url = &self.url;
        let sent = self.agents.with(|agent| {
            let mut request =
                agent.post(url.join("")).header("content-type", "application/x-protobuf");
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            request.send(body)
        });
        let later = |text| Failure { text, is_final: false, retry_after: None };
        let mut answer = sent.map_err(|error| later(format!("{url} does not answer: {error}")))?;
        let status = answer.status().as_u16();
        let header = answer.headers().get("retry-after");
        let retry_after =
            header.and_then(|text| requests::retry_after(text.to_str().ok()?, Datetime::now()));
        let body = answer.body_mut().with_config().limit(LARGEST).read_to_vec();
        if (200..300).contains(&status) {
            // What it has to say cannot be read; it has them all the same.
            return Ok(body.ok().and_then(|it| Response::decode(&it[..]).ok()).unwrap_or_default());
        }
        // Those that OTLP has one try again.
        let is_final = !matches!(status, 429 | 502 | 503 | 504);
        let said = body.map(|body| String::from_utf8_lossy(&body).trim().to_owned());
        let said = shortened(&said.unwrap_or_default(), SHOWN);
        let fix = match status {
            401 | 403 => ": check OTEL_EXPORTER_OTLP_HEADERS",
            404 => ": check [telemetry] endpoint, which takes OTLP over HTTP (port 4318)",
            _ => "",
        };
        let text = format!("{url} answers with status {status} {said:?}{fix}");
        Err(Failure { text, is_final, retry_after })
    }
}

/// Why spans were not taken.
struct Failure {
    text: String,
    /// Whether they never will be.
    is_final: bool,
    retry_after: Option<Duration>,
}

/// Sends what is in the queue until that is closed.
pub struct Sender {
    collector: Collector,
    queue: Arc<Queue>,
    health: Health,
    backoff: Backoff,
}

impl Sender {
    pub fn new(collector: Collector, queue: Arc<Queue>, health: Health) -> Self {
        Self { collector, queue, health, backoff: Backoff::new(PAUSES) }
    }

    pub fn run(mut self) {
        loop {
            let spans = self.queue.wait();
            if spans.is_empty() {
                return;
            }
            self.deliver(spans);
        }
    }

    fn deliver(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let spans = spans.into_iter().map(Span::into_bytes).collect();
        let body = request(self.collector.resource.clone(), spans).encode_to_vec();
        for attempt in 1..=ATTEMPTS {
            let failure = match self.collector.send(&body) {
                Ok(response) => return self.taken(count, response),
                Err(failure) => failure,
            };
            let text = format!("traces are not sent, and spans are lost: {}", failure.text);
            self.health.report(Code::TracesNotSent, SUBJECT, &text);
            if failure.is_final {
                break;
            }
            let pause = self.backoff.next_pause().max(failure.retry_after.unwrap_or_default());
            // Those that come meanwhile wait, as long as there is room. A stop waits for nothing.
            if self.queue.pause(pause) || attempt == ATTEMPTS {
                break;
            }
        }
        self.queue.count(0, count);
    }

    fn taken(&mut self, count: u64, response: Response) {
        self.backoff.reset();
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default().min(count);
        self.queue.count(count - rejected, rejected);
        if rejected == 0 {
            return self.health.over(Code::TracesNotSent, SUBJECT, "traces are sent again");
        }
        let said = shortened(&partial.error_message, SHOWN);
        let text = format!("{} does not take some of the spans: {said:?}", self.collector.url);
        self.health.report(Code::TracesNotSent, SUBJECT, &text);
    }
}

fn request(resource: Resource, spans: Vec<Vec<u8>>) -> Request {
    let scope =
        Scope { name: "mo-router".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    Request { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
}

/// Who sends: what OpenTelemetry's variables say, and what tells one router from others.
fn resource(settings: &Telemetry) -> Resource {
    let otel = &settings.otel;
    let own = [
        ("service.name", otel.service_name.clone().unwrap_or_else(|| "mo-router".to_owned())),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    let is_set = |name: &str| otel.attributes.iter().any(|(other, _)| other == name);
    let own = own.into_iter().filter(|(name, _)| {
        !is_set(name) || (*name == "service.name" && otel.service_name.is_some())
    });
    let own: Vec<_> = own.map(|(name, text)| KeyValue::text(name, text)).collect();
    let is_own = |name: &str| own.iter().any(|attribute| attribute.key == name);
    let others = otel.attributes.iter().filter(|(name, _)| !is_own(name));
    let others: Vec<_> = others.map(|(name, text)| KeyValue::text(name, text)).collect();
    Resource { attributes: own.into_iter().chain(others).collect() }
}

//! An OpenTelemetry collector: it takes OTLP over HTTP, reads it with the types that are made of
//! OpenTelemetry's own definitions, and can be told to have trouble.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use prost::Message;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use self::proto::collector::trace::v1::ExportTraceServiceRequest;
use self::proto::common::v1::{KeyValue, any_value};
use self::proto::trace::v1::span::SpanKind;
use super::ask_until;

/// OTLP's messages, as opentelemetry-proto has them.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "made of OpenTelemetry's definitions, as published"
)]
mod proto {
    pub mod collector {
        pub mod trace {
            pub mod v1 {
                include!("../data/opentelemetry-proto/opentelemetry.proto.collector.trace.v1.rs");
            }
        }
    }
    pub mod common {
        pub mod v1 {
            include!("../data/opentelemetry-proto/opentelemetry.proto.common.v1.rs");
        }
    }
    pub mod resource {
        pub mod v1 {
            include!("../data/opentelemetry-proto/opentelemetry.proto.resource.v1.rs");
        }
    }
    pub mod trace {
        pub mod v1 {
            include!("../data/opentelemetry-proto/opentelemetry.proto.trace.v1.rs");
        }
    }
}

/// See the module's documentation.
pub struct Collector {
    endpoint: String,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<HeaderMap>>,
    /// Whether it looks at nothing.
    is_blind: bool,
}

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// It takes no spans, and says so with this status, and when to come again, in seconds.
    Refuse(u16, Option<u32>),
    /// It takes them, and does not answer for so long.
    Late(Duration),
    /// It says that it has not taken so many of them.
    Part(i64),
}

/// A span that it was sent.
#[derive(Clone, Debug)]
pub struct Span {
    /// Of which program.
    pub service: String,
    /// What is said of the program.
    pub resource: BTreeMap<String, Json>,
    /// Its name.
    pub name: String,
    /// `CONSUMER`, `PRODUCER` or `INTERNAL`.
    pub kind: String,
    /// Which trace, in hexadecimal digits.
    pub trace_id: String,
    /// Which span.
    pub span_id: String,
    /// The span that it is within; empty if there is none.
    pub parent: String,
    /// What tracing systems have added.
    pub state: String,
    /// Traces and spans that it points to.
    pub links: Vec<(String, String)>,
    /// What is said of it.
    pub attributes: BTreeMap<String, Json>,
    /// When it began and ended, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// Why it failed.
    pub failure: Option<String>,
}

impl Collector {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::start_with(Shared::default()).await
    }

    /// One that takes everything and looks at none of it: to read spans takes longer than to make
    /// them.
    pub async fn blind() -> Self {
        Self::start_with(Shared { is_blind: true, ..Shared::default() }).await
    }

    async fn start_with(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint, shared, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The variable that has a router send all its traces here.
    pub fn variable(&self) -> String {
        format!("OTEL_EXPORTER_OTLP_ENDPOINT={}", self.endpoint)
    }

    /// What it does with the next requests.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.shared.answers).extend(answers);
    }

    /// The headers of the requests so far.
    pub fn requests(&self) -> Vec<HeaderMap> {
        lock(&self.shared.requests).clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.shared.spans).clone()
    }

    /// Waits until there are spans with these names, each as often as it is named, and gives them in
    /// this order.
    pub async fn named(&self, names: &[&str]) -> Vec<Span> {
        ask_until(&format!("the spans {names:?}"), || async {
            let mut spans = self.spans();
            let mut take = |name: &&str| {
                let place = spans.iter().position(|span| span.name == **name)?;
                Some(spans.remove(place))
            };
            names.iter().map(&mut take).collect()
        })
        .await
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    if shared.is_blind {
        return Vec::new().into_response();
    }
    lock(&shared.requests).push(headers);
    let answer = lock(&shared.answers).pop_front();
    if let Some(Answer::Refuse(status, retry_after)) = answer {
        let status = StatusCode::from_u16(status).unwrap();
        let mut response = (status, "busy").into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return response;
    }
    let request = ExportTraceServiceRequest::decode(body).expect("a request of OTLP");
    lock(&shared.spans).extend(spans_of(request));
    match answer {
        Some(Answer::Late(time)) => tokio::time::sleep(time).await,
        Some(Answer::Part(rejected_spans)) => {
            use proto::collector::trace::v1::{
                ExportTracePartialSuccess, ExportTraceServiceResponse,
            };
            let error_message = "no room".to_owned();
            let partial = ExportTracePartialSuccess { rejected_spans, error_message };
            let answer = ExportTraceServiceResponse { partial_success: Some(partial) };
            return answer.encode_to_vec().into_response();
        }
        Some(Answer::Refuse(..)) | None => {}
    }
    Vec::new().into_response()
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        for scope in of_resource.scope_spans {
            assert_eq!(scope.scope.unwrap_or_default().name, "mo-router");
            spans.extend(scope.spans.into_iter().map(|span| {
                Span {
                    service: resource["service.name"].as_str().unwrap().to_owned(),
                    resource: resource.clone(),
                    kind: SpanKind::try_from(span.kind)
                        .unwrap()
                        .as_str_name()
                        .trim_start_matches("SPAN_KIND_")
                        .to_owned(),
                    trace_id: id(&span.trace_id, 16),
                    span_id: id(&span.span_id, 8),
                    parent: if span.parent_span_id.is_empty() {
                        String::new()
                    } else {
                        id(&span.parent_span_id, 8)
                    },
                    state: span.trace_state,
                    links: (span.links.iter())
                        .map(|link| (id(&link.trace_id, 16), id(&link.span_id, 8)))
                        .collect(),
                    name: span.name,
                    attributes: attributes(span.attributes),
                    time: (span.start_time_unix_nano, span.end_time_unix_nano),
                    failure: span.status.filter(|status| status.code == 2).map(|it| it.message),
                }
            }));
        }
    }
    spans
}

fn id(bytes: &[u8], length: usize) -> String {
    assert_eq!(bytes.len(), length, "{bytes:?} is no id");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, Json> {
    let value = |KeyValue { key, value, .. }| {
        let value = match value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => json!(text),
            Some(any_value::Value::IntValue(number)) => json!(number),
            other => panic!("{key}: {other:?}"),
        };
        (key, value)
    };
    attributes.into_iter().map(value).collect()
}

impl Span {
    /// The header `traceparent` of what was published in it.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// Another span that it points to.
    pub fn link_to(&self) -> (String, String) {
        (self.trace_id.clone(), self.span_id.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

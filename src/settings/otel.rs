//! What OpenTelemetry's own variables say of traces.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;
use super::url::HttpUrl;

/// What OpenTelemetry's variables say beside the endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct OtelVariables {
    /// Where traces alone go, as it is; in place of `[telemetry] endpoint`.
    pub traces_endpoint: Option<HttpUrl>,
    /// Headers of each request; their values are often secret.
    pub headers: Vec<(String, Secret)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// A file with certificates, in PEM, of authorities to trust. If none: the system's.
    pub ca_file: Option<PathBuf>,
    /// What the router is called in traces.
    pub service_name: Option<String>,
    /// More that is said of the router in traces.
    pub attributes: Vec<(String, String)>,
    /// No traces, whatever else is set.
    pub disabled: bool,
}

impl Default for OtelVariables {
    fn default() -> Self {
        Self {
            traces_endpoint: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            ca_file: None,
            service_name: None,
            attributes: Vec::new(),
            disabled: false,
        }
    }
}

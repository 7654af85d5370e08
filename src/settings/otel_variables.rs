//! OpenTelemetry's own variables, as far as they concern traces. They may be there for other programs
//! too, so what cannot be read is a warning, and no error.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::schema::{Settings, Telemetry};
use super::secret::Secret;
use super::url::HttpUrl;
use super::value::SettingValue;

/// What is added to an endpoint for all signals.
const TRACES: &str = "/v1/traces";

impl Telemetry {
    /// Where traces go; none if there are none.
    pub fn traces_url(&self) -> Option<HttpUrl> {
        if self.otel.disabled {
            return None;
        }
        let of_traces = self.otel.traces_endpoint.clone();
        of_traces.or_else(|| HttpUrl::parse(&self.endpoint.as_ref()?.join(TRACES)).ok())
    }
}

/// Applies the variables. Empty ones count as not set; those for traces alone win.
pub(super) fn apply(variables: &[(String, String)], settings: &mut Settings) {
    let mut reader = Reader { variables, warnings: Vec::new() };
    let telemetry = &mut settings.telemetry;
    if let Some(endpoint) = reader.value("OTEL_EXPORTER_OTLP_ENDPOINT") {
        telemetry.endpoint = Some(endpoint);
        settings.origins.note("telemetry.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT");
    }
    let otel = &mut telemetry.otel;
    otel.traces_endpoint = reader.value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let headers = reader.newest("HEADERS").map(|(name, text)| reader.pairs(&name, text));
    let headers = headers.unwrap_or_default().into_iter();
    otel.headers = headers.map(|(name, value)| (name, Secret::from(value))).collect();
    if let Some((name, text)) = reader.newest("TIMEOUT") {
        match text.parse() {
            Ok(milliseconds @ 1..) => otel.timeout = Duration::from_millis(milliseconds),
            _ => reader.warn(&name, "must be a number of milliseconds"),
        }
    }
    otel.ca_file = reader.newest("CERTIFICATE").map(|(_, file)| PathBuf::from(file));
    otel.service_name = reader.text("OTEL_SERVICE_NAME").map(str::to_owned);
    let attributes = "OTEL_RESOURCE_ATTRIBUTES";
    otel.attributes = match reader.text(attributes) {
        Some(text) => reader.pairs(attributes, text),
        None => Vec::new(),
    };
    let is_off = |name, value: &str| {
        reader.text(name).is_some_and(|text| text.trim().eq_ignore_ascii_case(value))
    };
    otel.disabled = is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none");
    if let Some((name, protocol)) = reader.newest("PROTOCOL")
        && protocol != "http/protobuf"
    {
        let wrong = format!(
            "{protocol:?} is not spoken: traces are sent as http/protobuf, for which collectors listen on \
             port 4318"
        );
        reader.warn(&name, &wrong);
    }
    if telemetry.traces_url().is_some() {
        settings.origins.warnings.extend(reader.warnings);
    }
}

/// Reads variables, and notes what is wrong with them.
struct Reader<'a> {
    variables: &'a [(String, String)],
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let (_, text) = self.variables.iter().find(|(variable, _)| variable == name)?;
        (!text.is_empty()).then_some(text.as_str())
    }

    /// That for traces alone, or else that for all signals.
    fn newest(&self, end: &str) -> Option<(String, &'a str)> {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
        let mut names = names.into_iter().map(|start| format!("{start}{end}"));
        names.find_map(|name| self.text(&name).map(|text| (name, text)))
    }

    fn value<T: SettingValue>(&mut self, name: &str) -> Option<T> {
        match T::parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.warn(name, &wrong);
                None
            }
        }
    }

    /// `NAME=VALUE,…`, with percent-encoding. The values are not shown: they may be secret.
    fn pairs(&mut self, variable: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let decoded =
                |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
            let pair = pair.split_once('=').and_then(|(name, value)| {
                Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
            });
            match pair {
                Some(pair) => pairs.push(pair),
                None => self.warn(variable, "must be like NAME=VALUE,NAME=VALUE"),
            }
        }
        pairs
    }

    fn warn(&mut self, name: &str, wrong: &str) {
        self.warnings.push(format!("{name}: {wrong}"));
    }
}

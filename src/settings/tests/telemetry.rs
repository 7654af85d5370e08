//! `[telemetry]`, and OpenTelemetry's own variables.

use super::load;
use crate::settings::Telemetry;

fn telemetry(file: &str, variables: &[(&str, &str)]) -> Telemetry {
    load(file, variables).unwrap().telemetry
}

fn url(file: &str, variables: &[(&str, &str)]) -> Option<String> {
    telemetry(file, variables).traces_url().map(|url| url.to_string())
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

#[test]
fn traces_go_where_an_endpoint_says() {
    assert_eq!(url("", &[]), None);
    let collector = Some("http://collector:4318/v1/traces".to_owned());
    assert_eq!(url("", &[ENDPOINT]), collector);
    assert_eq!(url("telemetry.endpoint = 'http://collector:4318'", &[]), collector);
    let file = "telemetry.endpoint = 'http://file:4318'";
    assert_eq!(url(file, &[ENDPOINT]), collector);
    let ours = ("MO_ROUTER_TELEMETRY_ENDPOINT", "http://collector:4318");
    assert_eq!(url(file, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4318"), ours]), collector);
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/its/own/path");
    assert_eq!(url("", &[ENDPOINT, traces]), Some("https://traces/its/own/path".to_owned()));
}

#[test]
fn they_can_be_switched_off() {
    assert_eq!(url("", &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]), None);
    assert_eq!(url("", &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
    assert!(url("", &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "otlp")]).is_some());
    assert_eq!(url("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
}

#[test]
fn other_variables_of_opentelemetry_count() {
    let read = telemetry(
        "",
        &[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=for all"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic%20c2VjcmV0, x-scope = a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_SERVICE_NAME", "router-a"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ],
    );
    let headers = read.otel.headers.iter();
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("authorization", "Basic c2VjcmV0"), ("x-scope", "a")]);
    assert!(!format!("{read:?}").contains("c2VjcmV0"));
    assert_eq!(read.otel.timeout.as_millis(), 2500);
    assert_eq!(read.otel.service_name.as_deref(), Some("router-a"));
    assert_eq!(read.otel.attributes, [("deployment.environment.name".into(), "test".into())]);
}

#[test]
fn what_is_meant_for_other_programs_stops_nothing() {
    let wrong = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
    ];
    let settings = load("", &[&[ENDPOINT], &wrong[..]].concat()).unwrap();
    let warnings = settings.warnings();
    for (name, _) in wrong {
        assert!(warnings.iter().any(|warning| warning.starts_with(name)), "{name}: {warnings:?}");
    }
    assert!(warnings.iter().all(|warning| !warning.contains("secret")), "{warnings:?}");
    assert!(load("", &wrong).unwrap().warnings().is_empty(), "there are no traces");
}

#[test]
fn a_part_is_a_part() {
    assert_eq!(telemetry("", &[]).sample, 0.01);
    assert_eq!(telemetry("telemetry.sample = 0.5", &[]).sample, 0.5);
    assert_eq!(telemetry("telemetry.sample = 1", &[]).sample, 1.0);
    for wrong in ["1.5", "-1", "'NaN'", "'much'"] {
        let error = load(&format!("telemetry.sample = {wrong}"), &[]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("from 0 to 1"), "{error}");
    }
}

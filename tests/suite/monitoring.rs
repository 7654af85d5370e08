//! What Prometheus gets, and whether alerts and dashboard ask for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use mo_router::health::Code;

use crate::support::ask_until;
use crate::support::plugins::hostile;
use crate::support::ports::free_port;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::numbered;

/// What this router does not serve: there is no bridge to MO.
const NOT_SERVED: [&str; 3] = [
    "mo_router_mo_events_total",
    "mo_router_mo_requests_total",
    "mo_router_mo_token_expiry_timestamp_seconds",
];

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

/// A router that has done a little of everything.
async fn busy() -> (Scene, Router) {
    let scene = Scene::shared().await;
    let plugins = [
        ("forward", ""),
        ("strict", "config.answer = 'reject'"),
        ("later", "config.delay = '3600000'"),
    ];
    let router = scene.run("", &plugins).await;
    scene.client.publish(MO, numbered(0..10)).await;
    scene.routed(10).await;
    scene.dead(10).await;
    router.metric_until(&settled("forward", "published"), 10.0).await;
    router.metric_until(&settled("strict", "dead"), 10.0).await;
    router.metric_until(&settled("later", "delayed"), 10.0).await;
    // What is gathered has been.
    router.metric_until("delayed_messages", 10.0).await;
    router.metric_until("queue_consumers{plugin=\"forward\"}", 1.0).await;
    (scene, router)
}

fn settled(plugin: &str, outcome: &str) -> String {
    format!("events_settled_total{{plugin=\"{plugin}\",outcome=\"{outcome}\"}}")
}

/// The names of the families of Prometheus' text.
fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The metrics of the router and of its process that a text names, without what a histogram's
/// samples add.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let ours = words.filter(|word| word.starts_with("mo_router_") || word.starts_with("process_"));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

#[tokio::test]
async fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let (_scene, router) = busy().await;
    let (_, text) = router.get("metrics").await;
    let (_, open_metrics) = router.get_as("metrics", OPEN_METRICS).await;
    assert!(open_metrics.ends_with("# EOF\n") && !text.contains("# EOF"), "{open_metrics}");
    for wrong in ["version=\"\"", "NaN", " inf"] {
        assert!(!text.contains(wrong), "{text}");
    }
    let with_version: Vec<&str> = text.lines().filter(|line| line.contains("version=")).collect();
    assert!(
        with_version.iter().all(|line| line.contains("_info{")),
        "a version resets the counters that have it: {with_version:?}"
    );

    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = checked else {
        println!("SKIPPED promtool check metrics: promtool is not installed");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}\n{text}",
        String::from_utf8_lossy(&said)
    );
}

/// A real Prometheus, which asks for OpenMetrics: its parser is the strictest there is.
#[tokio::test]
async fn prometheus_scrapes_open_metrics() {
    let (_scene, router) = busy().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let target = router.address().await;
    let lines = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: mo-router\n  static_configs: [{{targets: [\"{target}\"]}}]\n"
    );
    std::fs::write(&config, lines).unwrap();
    let port = free_port();
    let started = tokio::process::Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(_prometheus) = started else {
        println!("SKIPPED a scrape: prometheus is not installed");
        return;
    };
    let query = format!("mo_router_{}", settled("forward", "published"));
    ask_until("Prometheus to have scraped", || {
        let query = query.clone();
        async move {
            let asked = tokio::task::spawn_blocking(move || {
                let url = format!("http://127.0.0.1:{port}/api/v1/query");
                let mut answer = ureq::get(&url).query("query", &query).call().ok()?;
                answer.body_mut().read_to_string().ok()
            });
            asked.await.unwrap().filter(|answer| answer.contains("\"10\""))
        }
    })
    .await;
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_what_the_router_serves() {
    let (_scene, router) = busy().await;
    let served = families(&router.get("metrics").await.1);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring");
    let mut missing = BTreeSet::new();
    for file in ["alerts.yaml", "dashboard.json"] {
        let asked = named(&std::fs::read_to_string(folder.join(file)).unwrap());
        assert!(asked.len() > 15, "{file}: {asked:?}");
        missing.extend(asked.difference(&served).cloned());
    }
    let expected: BTreeSet<String> = NOT_SERVED.map(str::to_owned).into();
    assert_eq!(missing, expected);
}

/// The labels whose values are the router's own.
const OWN_LABELS: [&str; 5] = ["cause", "connection", "outcome", "reason", "state"];

/// The labels of each selector in a text, such as `mo_router_ready{reason="stopping"}`, with each
/// of the values that it names.
fn selected(text: &str) -> Vec<(String, String, String)> {
    let mut selected = Vec::new();
    let text = text.replace("\\\"", "\"");
    for (at, _) in text.match_indices("mo_router_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let Some(inside) = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()) else {
            continue;
        };
        let mut parts = inside.split('"');
        while let (Some(label), Some(values)) = (parts.next(), parts.next()) {
            let label = label.trim_matches([',', ' ', '=', '!', '~']);
            selected.extend(
                values
                    .split('|')
                    .map(|value| (name.to_owned(), label.to_owned(), value.to_owned())),
            );
        }
    }
    selected
}

/// An alert or a query with a value that the router never serves finds nothing, for ever.
#[tokio::test]
async fn alerts_and_dashboard_ask_for_values_that_the_router_serves() {
    let (_scene, router) = busy().await;
    let served: BTreeSet<_> = selected(&router.get("metrics").await.1).into_iter().collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring");
    let (mut compared, mut wrong) = (0, Vec::new());
    for file in ["alerts.yaml", "alerts.test.yaml", "dashboard.json"] {
        let asked = selected(&std::fs::read_to_string(folder.join(file)).unwrap());
        let own = asked.into_iter().filter(|(name, label, value)| {
            OWN_LABELS.contains(&label.as_str())
                && !NOT_SERVED.contains(&name.as_str())
                && !value.contains('$')
        });
        for asked in own {
            compared += 1;
            if !served.contains(&asked) {
                wrong.push(format!("{file}: {asked:?}"));
            }
        }
    }
    assert!(compared > 20, "{compared}");
    assert!(wrong.is_empty(), "the router serves no such values:\n{}", wrong.join("\n"));
}

#[test]
fn nobody_is_called_for_what_the_router_only_tells() {
    let alerts = include_str!("../../deploy/monitoring/alerts.yaml");
    let left_out = "expr: mo_router_not_ready_reason{reason!~\"";
    let (_, rest) = alerts.split_once(left_out).expect("the alert MoRouterNotReady");
    let left_out: BTreeSet<&str> = rest.split('"').next().unwrap().split('|').collect();
    let told = Code::ALL.iter().filter(|code| code.is_only_told()).map(|code| code.as_str());
    assert_eq!(left_out, told.chain(["starting", "stopping"]).collect());
}

/// The tables of docs/metrics.md: metrics with the labels that their row names.
fn documented() -> BTreeMap<String, String> {
    let page = include_str!("../../docs/metrics.md");
    let mut metrics = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `mo_router_")) {
        let mut cells = row.split('|').skip(1);
        // Between them: the type and the unit.
        let (names, labels) = (cells.next().unwrap(), cells.nth(2).unwrap());
        metrics.extend(named(names).into_iter().map(|name| (name, labels.to_owned())));
    }
    metrics
}

/// The names of the labels of Prometheus' text, by metric.
fn labels(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("mo_router_")) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let name = ["_bucket", "_count", "_sum"]
            .into_iter()
            .find_map(|end| name.strip_suffix(end).filter(|name| name.ends_with("_seconds")))
            .unwrap_or(name);
        let (inside, _) = rest.rsplit_once('}').unwrap();
        // Values are between quotes, and none of this router's has one in it.
        let names = inside.split('"').step_by(2);
        let names = names.map(|name| name.trim_matches([',', '=']).to_owned());
        let names = names.filter(|name| !name.is_empty() && name != "le");
        labels.entry(name.to_owned()).or_default().extend(names);
    }
    labels
}

#[tokio::test]
async fn the_documentation_lists_what_the_router_serves() {
    let (_scene, router) = busy().await;
    let (_, text) = router.get("metrics").await;
    let served: BTreeSet<String> =
        families(&text).into_iter().filter(|name| name.starts_with("mo_router_")).collect();
    let documented = documented();
    let names: BTreeSet<String> = documented.keys().cloned().collect();
    let unlisted: Vec<&String> = served.difference(&names).collect();
    assert!(unlisted.is_empty(), "docs/metrics.md does not list {unlisted:?}");
    let expected: BTreeSet<String> =
        NOT_SERVED.into_iter().chain(["mo_router_trace_spans_total"]).map(str::to_owned).collect();
    let unserved: BTreeSet<String> = names.difference(&served).cloned().collect();
    assert_eq!(unserved, expected, "docs/metrics.md lists what this router does not serve");
    for (metric, labels) in labels(&text) {
        let row = &documented[&metric];
        let unlisted: Vec<&String> = labels.iter().filter(|label| !row.contains(*label)).collect();
        assert!(unlisted.is_empty(), "docs/metrics.md: {metric} also has {unlisted:?}");
    }
}

#[tokio::test]
async fn no_counter_falls_when_a_plugin_is_replaced() {
    let (scene, router) = busy().await;
    router.put("forward", &hostile("well-behaved"));
    router.logged("plugin replaced").await;
    router.metric_until("plugin_reloads_total{plugin=\"forward\",outcome=\"loaded\"}", 2.0).await;
    scene.client.publish(MO, numbered(10..11)).await;
    router.metric_until(&settled("forward", "published"), 11.0).await;
    router.metric_until("events_received_total{plugin=\"forward\"}", 11.0).await;
    let memory = router.metric("plugin_memory_bytes{plugin=\"forward\"}").await;
    assert!(memory >= Some(40.0 * 65536.0), "{memory:?}: its one instance has 40 pages");
    let calls = router.metric("plugin_call_duration_seconds_count{plugin=\"forward\"}").await;
    assert_eq!(calls, Some(11.0));
}

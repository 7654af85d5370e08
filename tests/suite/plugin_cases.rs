//! What the cases of `mo-router plugin test` can say, and what is shown of those that fail.

use serde_json::Value as Json;

use super::plugin_commands::{call, folder, text};
use crate::support::plugins::{build, hostile, hostile_text, scripted};

const EVENT: &str = r#"{ routing_key = "employee.it.create", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b", time = "2029-01-01T00:00:00Z" } }"#;

/// A folder with one plugin and its cases, and what testing it comes to.
fn test(plugin: &[u8], cases: &str) -> (bool, String, Vec<Json>) {
    let dir = folder(&[("p.wasm", plugin), ("p.cases.toml", cases.as_bytes())]);
    let output = call(dir.path(), &["plugin", "test", "p.wasm"]);
    let json = call(dir.path(), &["plugin", "test", "p.wasm", "--json"]);
    let lines = String::from_utf8_lossy(&json.stdout).into_owned();
    let lines = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (output.status.success(), text(&output), lines)
}

fn traps() -> Vec<u8> {
    build(&hostile_text("well-behaved").replace("    (i32.const 4096)))", "(unreachable)))"))
}

#[test]
fn a_dead_letter_is_shown_whole_though_the_case_names_a_time() {
    let cases = format!(
        r#"
        [[case]]
        name = "leaves at noon"
        at = "2030-01-01T11:00:00Z"
        plugin.limits.attempts = 2
        events = [ {EVENT} ]
        publishes = [ {{ routing_key = "employee.it.create", at = "2030-01-01T12:00:00Z" }} ]
        "#
    );
    let (passed, shown, _) = test(&traps(), &cases);
    assert!(!passed);
    for expected in [
        "missing:\n      -   {\n      -     \"at\": \"2030-01-01T12:00:00Z\"",
        "unexpected:\n      +   {\n      +     \"at\": \"2030-01-01T11:00:0",
        "+       \"attempts\": 2,",
        "+       \"reason\": \"trapped: wasm `unreachable` instruction executed (attempt 2 of 2)\"",
    ] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
}

#[test]
fn times_are_compared_as_times_and_a_wrong_one_is_told() {
    let case = |at: &str| {
        format!(
            "[[case]]\nname = \"now\"\nat = 2030-01-01T12:00:00Z\nevents = [ {EVENT} ]\n\
             publishes = [ {{ at = {at} }} ]\n"
        )
    };
    let forwards = hostile("well-behaved");
    for at in ["\"2030-01-01T13:00:00+01:00\"", "2030-01-01T12:00:00.000Z"] {
        let (passed, shown, _) = test(&forwards, &case(at));
        assert!(passed, "{at}: {shown}");
    }
    let (passed, shown, _) = test(&forwards, &case("\"noon\""));
    assert!(!passed && shown.contains("case \"now\": at") && shown.contains("\"noon\""), "{shown}");
}

#[test]
fn an_event_that_no_subscription_matches_says_so() {
    let cases = format!(
        r#"
        [plugin]
        subscriptions = ["org_unit.#", "engagement"]
        [[case]]
        name = "passes"
        events = [ {EVENT} ]
        publishes = [ {{ routing_key = "employee.it.create" }} ]
        "#
    );
    let (passed, shown, json) = test(&hostile("well-behaved"), &cases);
    let expected = "event 1 (employee.it.create) never reaches the plugin, which subscribes to \
                    org_unit.#, engagement";
    assert!(!passed && shown.contains("missing:") && shown.contains(expected), "{shown}");
    assert_eq!(json[0]["not_subscribed"][0]["routing_key"], "employee.it.create");
}

#[test]
fn attempts_and_settings_can_be_given_in_a_case() {
    let plugin = std::fs::read(scripted()).expect("it is built");
    let cases = format!(
        r#"
        [plugin]
        config = {{ answer = "reject", attempts = 2, header = "colour=blue" }}

        [[case]]
        name = "rejected at the second attempt"
        attempt = 2
        events = [ {EVENT} ]
        publishes = [ {{ dead = {{ reason = "told to reject", attempts = 2 }} }} ]

        [[case]]
        name = "forwarded at the third, as the event says"
        events = [ {} ]
        publishes = [ {{ routing_key = "employee.it.create", headers = {{ colour = "blue" }} }} ]

        [[case]]
        name = "dead at the last, with a setting of its own"
        attempt = 3
        plugin = {{ config = {{ answer = "retry", attempts = 3 }}, limits = {{ attempts = 3 }} }}
        events = [ {EVENT} ]
        publishes = [ {{ dead = {{ reason = "told to retry (attempt 3 of 3)" }} }} ]
        "#,
        EVENT.replacen('{', "{ attempt = 3,", 1)
    );
    let (passed, shown, _) = test(&plugin, &cases);
    assert!(passed && shown.contains("3 of 3 cases passed"), "{shown}");

    for (wrong, expected) in [
        ("attempt = 0", "attempt = 0 is none: attempts count from 1"),
        ("plugin.exchange = []", "there is no setting plugin.exchange; did you mean exchanges?"),
        ("plugin.limits.attempts = 0", "plugin.limits.attempts: 0 is out of range"),
    ] {
        let case = format!("[[case]]\nname = \"wrong\"\n{wrong}\nevents = [ {EVENT} ]\n");
        let (passed, shown, _) = test(&plugin, &case);
        assert!(!passed && shown.contains(expected), "{shown}");
    }
}

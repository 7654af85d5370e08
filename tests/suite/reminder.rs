//! The plugin that integrators begin with, in each language: a reminder at 08:00 in Copenhagen on
//! the day before a change takes effect, with settings, a package, a second source file, unit
//! tests and cases. Each is built from `tests/authors/reminder`, tested, dropped into a running
//! router, and sent events about both changes of daylight saving time to come.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::Copenhagen;
use mo_router::scaffold::Language;
use serde_json::{Value, json};

use crate::support::languages::{build, has_tools, make};
use crate::support::scene::{MO, Scene};
use crate::support::{ask_until, reminder, traffic};

const PERSON: &str = "1469208d-6867-4c28-9c26-ea10cdc85a5b";

/// The days on which Danish time changes next, in spring and in autumn.
fn changes(from: DateTime<Utc>) -> Vec<NaiveDate> {
    let today = from.with_timezone(&Copenhagen).date_naive();
    let midnight = |day: NaiveDate| {
        let midnight = day.and_hms_opt(0, 0, 0).expect("midnight");
        Copenhagen.from_local_datetime(&midnight).unwrap()
    };
    let is_odd =
        |day: &NaiveDate| midnight(*day + Days::new(1)) - midnight(*day) != TimeDelta::days(1);
    // From the day after tomorrow on, so that all reminders lie ahead.
    (2..400).map(|days| today + Days::new(days)).filter(is_odd).take(2).collect()
}

/// What a change that takes effect on this day is reminded of, and when: at this hour in
/// Copenhagen on the day before.
fn expected(day: NaiveDate, hour: u32) -> (String, DateTime<Utc>) {
    let before = (day - Days::new(1)).and_hms_opt(hour, 0, 0).expect("an hour");
    let at = Copenhagen.from_local_datetime(&before).unwrap();
    (format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day()), at.to_utc())
}

/// A change of an engagement that takes effect on this day.
fn event(day: NaiveDate, number: usize) -> traffic::Event {
    let midnight = day.and_hms_opt(0, 0, 0).expect("midnight");
    let time = Copenhagen.from_local_datetime(&midnight).unwrap();
    let body = json!({
        "uuid": PERSON,
        "object_uuid": format!("00000000-0000-4000-8000-{number:012}"),
        "time": time.to_rfc3339(),
    });
    traffic::Event::new("employee.engagement.edit", body.to_string())
}

async fn reminds(language: Language, tools: &str) {
    if tools != "rust" && !has_tools(tools) {
        return;
    }
    let parent = tempfile::tempdir().expect("a temporary folder");
    let Some(folder) = reminder::project(language, parent.path()) else { return };
    build(&folder);

    let scene = Scene::shared().await;
    let settings = "[plugin.reminder]\nconfig.hour = '9'\nconfig.message = 'I morgen'\n";
    let mut router = scene.run(settings, &[]).await;
    let plugins = format!("PLUGINS_DIR={}", router.path("plugins").display());
    make(&folder, &["install", &plugins]);
    router.logged("plugin consumes").await;

    #[expect(
        clippy::disallowed_methods,
        reason = "what lies ahead of the router, whose clock is real"
    )]
    let now = Utc::now();
    // The day of each change, and the day after.
    let days: Vec<NaiveDate> =
        changes(now).into_iter().flat_map(|day| [day, day + Days::new(1)]).collect();
    assert_eq!(days.len(), 4);
    scene.client.publish(MO, days.iter().enumerate().map(|(n, day)| event(*day, n))).await;
    let listed = ask_until("four reminders", || async {
        let listed = router.json(&["delayed", "list"]).await;
        let listed = listed.as_array().cloned().unwrap_or_default();
        (listed.len() == days.len()).then_some(listed)
    })
    .await;
    let mut due: Vec<(String, DateTime<Utc>)> = Vec::new();
    for message in &listed {
        let id = message["id"].to_string();
        let shown = router.json(&["delayed", "show", &id]).await;
        let body: Value = body_of(&shown);
        assert_eq!(body["message"], "I morgen", "{shown}");
        assert_eq!(body["uuid"], PERSON, "{shown}");
        let at = message["due"].as_str().expect("it is due").parse().expect("a time");
        due.push((body["effective"].as_str().expect("a day").to_owned(), at));
    }
    due.sort();
    let mut wanted: Vec<_> = days.iter().map(|day| expected(*day, 9)).collect();
    wanted.sort();
    assert_eq!(due, wanted);

    // What took effect long ago is told at once.
    let past = NaiveDate::from_ymd_opt(2024, 4, 1).expect("a day");
    scene.client.publish(MO, [event(past, 9)]).await;
    let reminder = &scene.routed(1).await[0];
    assert_eq!(reminder.routing_key, "reminder.employee.engagement.edit");
    let body: Value = serde_json::from_slice(&reminder.body).expect("JSON");
    let told = json!({ "effective": "2024-04-01", "message": "I morgen", "uuid": PERSON });
    assert_eq!(body, told);
    assert!(router.stop().await.success());
}

/// The body that `delayed show` prints.
fn body_of(shown: &Value) -> Value {
    match &shown["body"] {
        Value::String(text) => serde_json::from_str(text).expect("JSON"),
        body => body.clone(),
    }
}

#[tokio::test]
async fn in_rust() {
    reminds(Language::Rust, "rust").await;
}

#[tokio::test]
async fn in_python() {
    reminds(Language::Python, "python").await;
}

#[tokio::test]
async fn in_javascript() {
    reminds(Language::JavaScript, "javascript").await;
}

#[tokio::test]
async fn in_typescript() {
    reminds(Language::TypeScript, "javascript").await;
}

#[tokio::test]
async fn in_go() {
    reminds(Language::Go, "go").await;
}

#[tokio::test]
async fn in_c() {
    reminds(Language::C, "c").await;
}

#[tokio::test]
async fn in_cpp() {
    reminds(Language::Cpp, "zig").await;
}

#[tokio::test]
async fn in_zig() {
    reminds(Language::Zig, "zig").await;
}

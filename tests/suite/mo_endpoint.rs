//! The test endpoint does what MO does: requests that a real MO answered are played against it,
//! and give the same answers apart from tokens, times and identities.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::support::mo::{Account, Endpoint, Faults, MO, NOBODY, PRIORITY, Row};

const TRANSCRIPT: &str = include_str!("../data/mo-graphql-transcript.jsonl");

/// Somebody who asks the endpoint.
struct Asker {
    endpoint: Endpoint,
    bearer: Option<String>,
}

impl Asker {
    /// Somebody who may do everything.
    async fn new() -> Self {
        Self { endpoint: Endpoint::start().await, bearer: None }
    }

    /// The status and the text of an answer.
    async fn post(&self, path: &str, body: String) -> (u16, String) {
        let url = format!("{}{path}", self.endpoint.url());
        let bearer = self.bearer.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut request = agent.post(url).header("content-type", "application/json");
            if let Some(bearer) = bearer {
                request = request.header("authorization", bearer);
            }
            let mut answer = request.send(body).unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        });
        answered.await.unwrap()
    }

    async fn ask(&self, query: &str, variables: Json) -> Json {
        let body = json!({ "query": query, "variables": variables });
        let (status, text) = self.post("/graphql/v25", body.to_string()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn listener(&self, routing_key: &str) -> Uuid {
        let input = json!({ "user_key": routing_key, "routing_key": routing_key });
        let query = "mutation($i: ListenerCreateInput!){event_listener_declare(input:$i){uuid}}";
        let answer = self.ask(query, json!({ "i": input })).await;
        serde_json::from_value(answer["data"]["event_listener_declare"]["uuid"].clone()).unwrap()
    }

    async fn fetch(&self, listener: Uuid) -> Json {
        let query = "query($l:UUID!){event_fetch(filter:{listener:$l}){subject token}}";
        self.ask(query, json!({ "l": listener })).await["data"]["event_fetch"].clone()
    }
}

/// The names that the recorded MO had for things, and those that they have here.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    /// Takes an answer in: at the same place there are the same things.
    fn learn(&mut self, recorded: &Json, here: &Json) {
        match (recorded, here) {
            (Json::Object(recorded), Json::Object(here)) => {
                for (key, value) in recorded {
                    let Some(here) = here.get(key) else { continue };
                    match (&**key, value.as_str(), here.as_str()) {
                        ("uuid" | "token", Some(value), Some(here)) => {
                            self.0.insert(value.into(), here.into());
                        }
                        _ => self.learn(value, here),
                    }
                }
            }
            (Json::Array(recorded), Json::Array(here)) if recorded.len() == 1 => {
                recorded.iter().zip(here).for_each(|(recorded, here)| self.learn(recorded, here));
            }
            _ => {}
        }
    }

    /// What was asked then, as it is asked here.
    fn translate(&self, text: &str) -> String {
        let translate = |text: String, (then, here): (&String, &String)| text.replace(then, here);
        self.0.iter().fold(text.to_owned(), translate)
    }
}

/// An answer without what differs: identities of listeners, tokens, and in which order listeners
/// and events are listed, which follows from their identities.
fn essence(answer: &Json) -> Json {
    match answer {
        Json::Object(object) => {
            let parts = object.iter().map(|(key, value)| match (&**key, value) {
                ("uuid" | "token", Json::String(_)) => (key.clone(), json!("…")),
                ("message", Json::String(text)) => {
                    // What follows is the SQL.
                    (key.clone(), json!(text.lines().next()))
                }
                _ => (key.clone(), essence(value)),
            });
            Json::Object(parts.collect())
        }
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(essence).collect();
            items.sort_by_key(Json::to_string);
            items.into()
        }
        other => other.clone(),
    }
}

/// What happened in MO before the recording, or beside it.
fn happened_meanwhile(asker: &Asker, note: &str, recorded: &Json) {
    let mut world = asker.endpoint.world();
    match note {
        "namespaces" => {
            world.declare_namespace("timing", false, NOBODY).unwrap();
            world.declare_listener("timing", "t", "t", NOBODY).unwrap();
        }
        "listeners" => {
            // In the order in which they were fetched later.
            let fetched = ["5462", "8dad", "0d7e", "c5a2", "0e61"];
            let place = |subject: &str| fetched.iter().position(|start| subject.starts_with(start));
            for listener in recorded["data"]["event_listeners"]["objects"].as_array().unwrap() {
                let key = listener["routing_key"].as_str().unwrap();
                let events = listener["events"].as_array().unwrap();
                let mut subjects: Vec<&str> =
                    events.iter().map(|event| event["subject"].as_str().unwrap()).collect();
                subjects.sort_by_key(|subject| place(subject));
                for subject in subjects {
                    world.emit(MO, key, subject, PRIORITY);
                }
            }
        }
        // What comes here was leased a moment before: leases had been ended, as in the step
        // `testing: reset-last-tried`, which this step's record does not say.
        "aliased batch of 4 fetches" | "fetch again" => world.change_in_place(Row::rerun),
        _ => {}
    }
}

#[tokio::test]
async fn recorded_requests_have_the_recorded_answers() {
    let mut asker = Asker::new().await;
    asker.endpoint.add_account(Account {
        client_id: "recorder".into(),
        secret: "secret".into(),
        identity: Some(NOBODY),
        roles: None,
    });
    let form = "grant_type=client_credentials&client_id=recorder&client_secret=secret";
    let (_, token) = asker.post("/auth/realms/mo/protocol/openid-connect/token", form.into()).await;
    let token: Json = serde_json::from_str(&token).unwrap();
    let login = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let (mut names, mut played, mut differences) = (Names::default(), 0, Vec::new());
    for line in TRANSCRIPT.lines() {
        let recorded: Json = serde_json::from_str(line).unwrap();
        let note = recorded["note"].as_str().unwrap();
        // These follow from leases and concurrency, and have tests of their own below.
        if recorded.get("request").is_none() || note.starts_with("fetch while another") {
            continue;
        }
        if note.starts_with("fetch after another client left") {
            continue;
        }
        let recorded_answer = &recorded["response"];
        happened_meanwhile(&asker, note, recorded_answer);
        asker.bearer = match note {
            "no session header" => None,
            "unknown session" | "bad bearer token" => Some("Bearer nonsense".into()),
            _ => Some(login.clone()),
        };
        let (status, text) = match note {
            "testing: reset-last-tried" => {
                asker.post("/testing/events/reset-last-tried", String::new()).await
            }
            "array batching" => {
                let query = json!({ "query": "{version{mo_version}}" });
                asker.post("/graphql/v25", json!([query, query]).to_string()).await
            }
            "GET" => continue,
            _ => {
                let body = names.translate(&recorded["request"].to_string());
                asker.post(recorded["path"].as_str().unwrap(), body).await
            }
        };
        let answer = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        let here = (json!(status), essence(&answer));
        let then = (recorded["status"].clone(), essence(recorded_answer));
        if here != then {
            differences.push(format!("{note}\n  then {then:?}\n  here {here:?}"));
        }
        names.learn(recorded_answer, &answer);
        played += 1;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(played > 80, "only {played} were played");
}

#[tokio::test]
async fn a_lease_ends_after_three_minutes_and_later_ones_after_ever_more() {
    let asker = Asker::new().await;
    let listener = asker.listener("person").await;
    asker.endpoint.emit("person", "x");
    let seconds = [180, 180, 180, 180, 180, 180, 180, 256, 512, 1024];
    for lease in seconds {
        let event = asker.fetch(listener).await;
        assert_eq!(event["subject"], "x");
        assert_eq!(asker.fetch(listener).await, Json::Null);
        asker.endpoint.advance(Duration::from_secs(lease - 1));
        assert_eq!(asker.fetch(listener).await, Json::Null, "before {lease} s");
        asker.endpoint.advance(Duration::from_secs(1));
    }
    // A new event begins anew.
    asker.endpoint.emit("person", "x");
    let first = asker.fetch(listener).await;
    asker.endpoint.advance(Duration::from_secs(180));
    assert_eq!(asker.fetch(listener).await, first, "the token stays the same");
}

#[tokio::test]
async fn another_transaction_hides_events_and_nobody_hears_of_it() {
    let asker = Asker::new().await;
    let listener = asker.listener("person").await;
    asker.endpoint.emit("person", "x");
    asker.endpoint.set_faults(Faults { lock_every: 1, ..Faults::default() });
    assert_eq!(asker.fetch(listener).await, Json::Null);
    asker.endpoint.set_faults(Faults::default());
    assert_eq!(asker.fetch(listener).await["subject"], "x");
}

#[tokio::test]
async fn rows_are_in_no_order_where_the_table_is_in_use() {
    let asker = Asker::new().await;
    let listener = asker.listener("person").await;
    asker.endpoint.world().is_shuffled = true;
    let mut fetched = Vec::new();
    for number in 10..30 {
        asker.endpoint.emit("person", &number.to_string());
    }
    for _ in 10..30 {
        fetched.push(asker.fetch(listener).await["subject"].as_str().unwrap().to_owned());
    }
    assert_ne!(fetched, (10..30).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(fetched.into_iter().collect::<BTreeSet<_>>().len(), 20);
}

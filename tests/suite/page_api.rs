//! What the page is made of, asked for without a browser: who may, and from where; what is bounded.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::letters;
use crate::support::router::{Router, TOKEN};
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::numbered;
use crate::support::{ask_until, within_reason};

/// What a router answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request with these headers, and others that it takes, as a program or a browser would.
pub async fn ask(router: &Router, request: &str, headers: &[&str], body: &str) -> Answer {
    let address = router.address().await;
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text += &format!("Host: {address}\r\n");
    }
    headers.iter().for_each(|header| text += &format!("{header}\r\n"));
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within_reason(request, stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer.split_off(end + 4) }
}

pub const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn changes_take_the_token_and_come_from_the_page_itself() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    let resume = "POST /api/plugins/forward/resume";
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask(&router, resume, &[], "").await.status, 401);
    assert_eq!(ask(&router, resume, &["Authorization: Bearer wrong"], "").await.status, 403);
    assert_eq!(ask(&router, resume, &[&bearer], "").await.status, 200);
    for elsewhere in
        ["Origin: http://evil.example.org", "Sec-Fetch-Site: cross-site", "Origin: null"]
    {
        assert_eq!(
            ask(&router, resume, &[&bearer, elsewhere], "").await.status,
            403,
            "{elsewhere}"
        );
    }
    let wrong = json!({"token": "guessed", "who": "Eve"}).to_string();
    assert_eq!(ask(&router, "POST /api/session", &[JSON], &wrong).await.status, 403);
    let logged = router.logged_times("this is not the token", 2).await;
    assert!(logged.contains("from=127.0.0.1"), "{logged}");
    let shown = json!({"token": TOKEN, "who": "Ada"}).to_string();
    let session = ask(&router, "POST /api/session", &[JSON], &shown).await;
    let cookie = session.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let csrf = format!("X-Mo-Router-Csrf: {}", session.json()["csrf"].as_str().unwrap());
    assert_eq!(ask(&router, resume, &[&cookie], "").await.status, 403);
    assert_eq!(ask(&router, resume, &[&cookie, "X-Mo-Router-Csrf: guessed"], "").await.status, 403);
    assert_eq!(ask(&router, resume, &[&cookie, &csrf], "").await.status, 200);
    assert_eq!(ask(&router, "DELETE /api/session", &[&cookie], "").await.status, 200);
    assert_eq!(ask(&router, resume, &[&cookie, &csrf], "").await.status, 401);
    // Nor is any other thing that changes something open.
    for path in ["cancel", "reschedule", "send-now"].map(|it| format!("POST /api/delayed/{it}")) {
        assert_eq!(ask(&router, &path, &[JSON], "{\"ids\": [1]}").await.status, 401, "{path}");
    }
    for path in [
        "/api/dead/requeue",
        "/api/dead/discard",
        "/api/try/file",
        "/delayed/release",
        "/plugins/forward/remove",
    ] {
        let path = format!("POST {path}");
        assert_eq!(
            ask(&router, &path, &[JSON], "{\"ids\": [\"0123456789abcdef\"]}").await.status,
            401,
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_a_token_file_nothing_can_be_changed() {
    let mut router = Router::new("", &[("forward", "")]);
    std::fs::remove_file(router.path("token")).unwrap();
    router.start_ready().await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let refused = ask(&router, "POST /api/plugins/forward/resume", &[&bearer], "").await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["error"].as_str().unwrap().contains("token_file"), "{}", refused.head);
}

#[tokio::test]
async fn whoever_knew_a_token_that_was_replaced_may_change_nothing() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    let resume = "POST /api/plugins/forward/resume";
    let shown = json!({"token": TOKEN, "who": "Ada"}).to_string();
    let session = ask(&router, "POST /api/session", &[JSON], &shown).await;
    let cookie = session.header("set-cookie").unwrap().split(';').next().unwrap();
    let cookie = format!("Cookie: {cookie}");
    let csrf = format!("X-Mo-Router-Csrf: {}", session.json()["csrf"].as_str().unwrap());
    assert_eq!(ask(&router, resume, &[&cookie, &csrf], "").await.status, 200);
    // Without any, nobody may.
    std::fs::remove_file(router.path("token")).unwrap();
    assert_eq!(ask(&router, resume, &[&cookie, &csrf], "").await.status, 403);
    let told = ask(&router, "GET /api/session", &[&cookie], "").await;
    assert_eq!((told.status, &told.json()["unlocked"]), (200, &json!(false)));
    router.put_file("token", b"another one, of the length that is asked for");
    assert_eq!(ask(&router, resume, &[&cookie, &csrf], "").await.status, 401);
    let told = ask(&router, "GET /api/session", &[&cookie], "").await.json();
    assert_eq!(told["unlocked"], false, "{told}");
}

#[tokio::test]
async fn whatever_is_asked_wrongly_is_answered_with_an_error_in_json() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let large = "x".repeat(3 << 20);
    for (request, headers, body, status) in [
        ("GET /api/delayed?limit=x", &[][..], "", 400),
        ("GET /api/delayed?unknown=1", &[], "", 400),
        ("GET /api/dead?skip=-1", &[], "", 400),
        ("GET /api/delayed/message/abc", &[], "", 400),
        ("POST /api/try", &[], "{}", 415),
        ("POST /api/try", &[JSON], "{", 400),
        ("POST /api/try", &[JSON], "{}", 422),
        ("POST /api/try", &[JSON], &large, 413),
        ("POST /api/delayed/cancel", &[JSON, &bearer], "[]", 422),
        ("GET /api/nothing", &[], "", 404),
        ("GET /nothing", &[], "", 404),
        ("GET /page/0123456789abcdef/app.js", &[], "", 404),
        ("DELETE /api/delayed", &[], "", 405),
        ("PUT /", &[], "", 405),
        ("POST /healthz", &[], "", 405),
    ] {
        let answer = ask(&router, request, headers, body).await;
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{request}");
        let error = answer.json()["error"].as_str().map(str::to_owned);
        assert!(error.is_some_and(|error| !error.is_empty()), "{request}: {answer:?}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{request}: {answer:?}");
        let is_protected = answer.header("content-security-policy").is_some();
        assert!(is_protected || request.ends_with("healthz"), "{request}: {answer:?}");
    }
    let readiness = ask(&router, "GET /readyz", &[], "").await;
    assert_eq!((readiness.status, &*readiness.body), (200, &b"ready\n"[..]));
}

#[tokio::test]
async fn each_change_is_logged_whatever_is_asked_for_and_however_many_there_are() {
    const CHANGES: usize = 150;
    let mut router = Router::new("", &[]);
    // The daemon's own lines have its address.
    router.start_with_variables(&["RUST_LOG=warn,mo_router::daemon=info"]);
    router.logged("ready").await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for id in 1..=CHANGES {
        let body = json!({ "ids": [id] }).to_string();
        let cancel = ask(&router, "POST /api/delayed/cancel", &[&bearer, JSON], &body).await;
        assert_eq!(cancel.status, 200, "{cancel:?}");
    }
    router.logged_times("cancel: delayed messages", CHANGES).await;
}

#[tokio::test]
async fn the_page_is_closed_to_other_names_and_other_pages() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    for path in ["GET /", "GET /api/overview", "POST /api/session"] {
        assert_eq!(ask(&router, path, &["Host: evil.example.org"], "").await.status, 421, "{path}");
    }
    // Prometheus and Kubernetes ask by any name.
    assert_eq!(ask(&router, "GET /readyz", &["Host: mo-router.mo.svc"], "").await.status, 200);
    let page = ask(&router, "GET /", &[], "").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(page.body.clone()).unwrap();
    let script = html.split('"').find(|part| part.ends_with("/app.js")).unwrap();
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let plain = ask(&router, &format!("GET {script}"), &[], "").await;
    let packed = ask(&router, &format!("GET {script}"), &["Accept-Encoding: gzip"], "").await;
    assert!(plain.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() * 2 < plain.body.len());
    assert_eq!(ask(&router, "GET /page/0123456789abcdef/app.js", &[], "").await.status, 404);
    // A link from elsewhere leads here; nothing there may ask for more.
    let from = "Sec-Fetch-Site: cross-site";
    let link = [from, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];
    assert_eq!(ask(&router, "GET /", &link, "").await.status, 200);
    let image = [from, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"];
    assert_eq!(ask(&router, "GET /api/overview", &image, "").await.status, 403);
    // Everything that the page asks for is in the program.
    for part in ["http://", "https://"] {
        assert!(!html.contains(part), "{html}");
    }
}

#[tokio::test]
async fn who_looks_is_bounded_and_who_does_not_read_is_told() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let address = router.address().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /api/tail HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 15];
        within_reason("a tail", stream.read_exact(&mut start)).await.unwrap();
        assert!(start.starts_with(b"HTTP/1.1 200"));
        open.push(stream);
    }
    let refused = ask(&router, "GET /api/tail", &[], "").await;
    assert_eq!(refused.status, 503);
    // They read nothing, and hold up nobody.
    for round in 0..5 {
        scene.client.publish(MO, numbered(round * 500..(round + 1) * 500)).await;
    }
    scene.routed(2500).await;
    // Who reads is told how many there were.
    let mut text = String::new();
    let told = async {
        let mut part = [0; 4096];
        while !text.contains("\"matched\":2500") {
            let read = open[0].read(&mut part).await.unwrap();
            text += &String::from_utf8_lossy(&part[..read]);
        }
    };
    within_reason("the counts", told).await;
    drop(open);
    let again = || async { (ask_status(&router).await == 200).then_some(()) };
    ask_until("room for one more", again).await;
}

/// Whether a tail can be opened, as the status of its answer.
async fn ask_status(router: &Router) -> u16 {
    let address = router.address().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /api/tail HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    within_reason("an answer", stream.read_exact(&mut start)).await.unwrap();
    String::from_utf8_lossy(&start[9..]).parse().unwrap()
}

#[tokio::test]
async fn a_change_is_finished_and_logged_though_whoever_asked_has_gone() {
    const LETTERS: u64 = 10_000;
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    router.json(&["dead", "list"]).await;
    let letter = |number| letters::publication(number, "forward", ROUTED, "it was full");
    letters::put(&scene.client, LETTERS, letter).await;
    let address = router.address().await;
    let body = json!({"group": {"plugin": "forward", "reason": "it was full"}}).to_string();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "POST /api/dead/requeue HTTP/1.1\r\nHost: {address}\r\n{JSON}\r\n\
         Authorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let back = || async { (scene.client.depth(ROUTED).await > 0).then_some(()) };
    ask_until("it to begin", back).await;
    drop(stream);
    let logged = router.logged(&format!("{LETTERS} dead letters sent back")).await;
    assert!(logged.contains("a command"), "{logged}");
    assert_eq!(scene.routed(LETTERS as usize).await.len() as u64, LETTERS);
    scene.client.has(DEAD, 0).await;
}

#[tokio::test]
async fn letters_whose_reasons_are_alike_are_one_group_and_changed_as_one() {
    // More than there are groups.
    const LETTERS: u64 = 1500;
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    router.json(&["dead", "list"]).await;
    let reason = |number: u64| format!("no person {}", uuid::Uuid::from_u128(number.into()));
    let alike = |number| letters::publication(number, "forward", ROUTED, &reason(number));
    letters::put(&scene.client, LETTERS, alike).await;
    let others = [letters::publication(LETTERS, "forward", ROUTED, "no unit 404")];
    scene.client.publish(DEAD, others).await;
    let groups = ask(&router, "GET /api/dead/groups", &[], "").await.json();
    let told =
        |group: &Value| (group["reason"].clone(), group["alike"].clone(), group["count"].clone());
    let groups: Vec<_> = groups.as_array().unwrap().iter().map(told).collect();
    let expected = [
        (json!(reason(0)), json!(true), json!(LETTERS)),
        (json!("no unit 404"), json!(false), json!(1)),
    ];
    assert_eq!(groups, expected);
    let query = format!("plugin=forward&exactly={}", reason(0).replace(' ', "%20"));
    for (query, count) in [(format!("{query}&alike=true&limit=200"), 200), (query, 1)] {
        let list = ask(&router, &format!("GET /api/dead?{query}"), &[], "").await.json();
        assert_eq!(list["letters"].as_array().unwrap().len(), count, "{query}");
    }
    // Who names a reason alone means no other one.
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for (alike, count) in [(false, 1), (true, LETTERS - 1)] {
        let group = json!({"plugin": "forward", "reason": reason(0), "alike": alike});
        let body = json!({ "group": group }).to_string();
        let discarded = ask(&router, "POST /api/dead/discard", &[&bearer, JSON], &body).await;
        assert_eq!(discarded.json()["discarded"], count, "{discarded:?}");
    }
    scene.client.has(DEAD, 1).await;
}

/// Somebody who follows decisions.
struct Tail {
    stream: TcpStream,
    text: String,
}

impl Tail {
    async fn follow(router: &Router, query: &str) -> Self {
        let address = router.address().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /api/tail?{query} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 15];
        within_reason("a tail", stream.read_exact(&mut start)).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        Self { stream, text: String::new() }
    }

    /// What is told next of this kind.
    async fn next(&mut self, kind: &str) -> Value {
        let begin = format!("event: {kind}\ndata: ");
        let told = async {
            let mut part = [0; 4096];
            loop {
                if let Some((_, rest)) = self.text.split_once(&begin)
                    && let Some((data, rest)) = rest.split_once("\n\n")
                {
                    let data = serde_json::from_str(data).unwrap();
                    self.text = rest.to_owned();
                    return data;
                }
                let read = self.stream.read(&mut part).await.unwrap();
                self.text += &String::from_utf8_lossy(&part[..read]);
            }
        };
        within_reason(kind, told).await
    }
}

#[tokio::test]
async fn the_tail_has_the_dead_letters_of_the_broker_and_who_they_are_about() {
    let scene = Scene::shared().await;
    // No queue takes what is published there.
    scene.client.exchange("nowhere", true).await;
    let lost = "exchanges = ['nowhere']\nconfig.to = 'nowhere'";
    let router = scene.run("", &[("lost", lost), ("forward", "")]).await;
    assert_eq!(ask(&router, "GET /api/tail?uuid=nobody", &[], "").await.status, 400);
    let event = numbered([7]).next().unwrap();
    let sent: Value = serde_json::from_slice(&event.body).unwrap();
    let person = sent["uuid"].as_str().unwrap().to_owned();
    let mut tail =
        Tail::follow(&router, &format!("outcome=dead&overview=true&uuid={person}")).await;
    assert_eq!(tail.next("overview").await["exchange"], MO);
    scene.client.publish(MO, numbered([8, 7])).await;
    let decision = tail.next("decision").await;
    assert_eq!(decision["plugin"], "lost", "{decision:#}");
    assert_eq!(decision["kind"], "publication");
    assert_eq!(decision["exchange"], "nowhere");
    assert_eq!(decision["uuid"], person.as_str());
    assert!(!decision["reason"].as_str().unwrap().is_empty());
    assert_eq!(decision["messages"][0]["routing_key"], event.key.as_str());
    assert_eq!(decision["event"], Value::Null);
    assert_eq!(tail.next("counts").await["shown"], 1);
}

#[tokio::test]
async fn a_file_that_is_not_in_the_folder_can_be_tried() {
    let mut router = Router::new("", &[]);
    router.start_ready().await;
    let file = std::fs::read(crate::support::plugins::scripted()).unwrap();
    let address = router.address().await;
    // More than there is room for in an address.
    let event = r#"{"routing_key":"engagement","body":"cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"}"#;
    let events = format!("{event}\n").repeat(200_000 / event.len());
    let asked = json!({"name": "new", "events": events, "at": "2030-01-01T00:00:00Z"});
    let body = [asked.to_string().as_bytes(), b"\n", &file[..]].concat();
    let url = format!("http://{address}/api/try/file");
    let send = move |body: Vec<u8>| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let sent = agent.post(&url).header("Authorization", &format!("Bearer {TOKEN}"));
        let mut answer = sent.send(&body[..]).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().unwrap())
    };
    let again = send.clone();
    let tried = within_reason("the trial", tokio::task::spawn_blocking(move || send(body)));
    let (status, tried) = tried.await.unwrap();
    assert_eq!(status, 200, "{tried}");
    let lines = tried["lines"].as_array().unwrap();
    let left_out = tried["left_out"].as_u64().unwrap();
    assert_eq!(lines.len() as u64 + left_out, 200_000 / event.len() as u64);
    assert_eq!(lines[0]["routing_key"], "engagement");
    assert_eq!(lines[0]["exchange"], "os2mo_routed");
    assert_eq!(lines[0]["at"], "2030-01-01T00:00:00Z");
    let wrong = tokio::task::spawn_blocking(move || again(b"no JSON\n\0asm".to_vec()));
    let (status, wrong) = within_reason("a refusal", wrong).await.unwrap();
    assert_eq!(status, 400);
    assert!(wrong["error"].as_str().unwrap().contains("first line"), "{wrong}");
    assert!(router.status_of("new").await.is_null(), "it runs nowhere");
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

/// The properties of a schema of `docs/openapi.json`.
fn documented(document: &Value, schema: &str) -> BTreeSet<String> {
    let schema = &document["components"]["schemas"][schema];
    let parts = match schema["allOf"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![schema],
    };
    let of_part = |part: &Value| match part["$ref"].as_str() {
        Some(other) => documented(document, other.rsplit('/').next().unwrap()),
        None => keys(&part["properties"]),
    };
    parts.into_iter().flat_map(of_part).collect()
}

#[tokio::test]
async fn what_is_answered_has_the_properties_that_are_documented() {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let page = include_str!("../../docs/http.md");
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    for (path, schema, of_plugin) in
        [("/status", "Status", "Plugin"), ("/api/overview", "Overview", "PluginNow")]
    {
        let answer = ask(&router, &format!("GET {path}"), &[], "").await.json();
        let mut answered = keys(&answer);
        // It is left out of the status where there is no bridge.
        answered.insert("mo".to_owned());
        assert_eq!(answered, documented(&document, schema), "{path}");
        let plugin = &answer["plugins"][0];
        assert_eq!(keys(plugin), documented(&document, of_plugin), "{path}");
        let lines = &document["components"]["schemas"]["Plugin"]["properties"]["log_lines"];
        assert_eq!(keys(&plugin["log_lines"]), keys(&lines["properties"]), "{path}");
    }
    for property in &documented(&document, "Status") | &documented(&document, "Plugin") {
        assert!(page.contains(&format!("`{property}`")), "docs/http.md does not say {property}");
    }
}

//! Who may ask the router what over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::plugins::hostile;
use crate::support::router::Router;
use crate::support::{ask_until, within_reason};

const UNREACHABLE: &str = "[amqp]\nenabled = true\nurl = 'amqp://127.0.0.1:1'\n";

/// What is answered to a request, as it is.
async fn asked(router: &Router, head: &str) -> String {
    let (address, head) = (router.address().await, head.replace('\n', "\r\n"));
    let answer = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        write!(socket, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    });
    within_reason("an answer", answer).await.unwrap()
}

#[tokio::test]
async fn a_page_that_leads_a_browser_here_learns_nothing_and_changes_nothing() {
    let mut router = Router::new(UNREACHABLE, &[]);
    router.start();
    let own = router.address().await;
    let lead = asked(&router, "GET /status HTTP/1.1\nHost: evil.example:9095").await;
    assert!(lead.starts_with("HTTP/1.1 421 ") && lead.contains("allowed_hosts"), "{lead}");
    let page = format!("GET /status HTTP/1.1\nHost: {own}\nOrigin: http://evil.example");
    assert!(asked(&router, &page).await.starts_with("HTTP/1.1 403 "));
    let page = format!("GET /status HTTP/1.1\nHost: {own}\nOrigin: http://{own}");
    assert!(asked(&router, &page).await.starts_with("HTTP/1.1 200 "));

    let change = format!("POST /plugins/x/remove HTTP/1.1\nHost: {own}\nContent-Length: 0");
    assert!(asked(&router, &change).await.starts_with("HTTP/1.1 401 "));
    let token = std::fs::read_to_string(router.path("token")).unwrap();
    let change = format!("{change}\nAuthorization: Bearer {}", token.trim());
    let logs = format!("GET /plugins/x/logs HTTP/1.1\nHost: {own}");
    for (request, error) in
        [(&change, r#"no plugin "x" runs or has run"#), (&logs, r#"no plugin "x" was loaded"#)]
    {
        let answer = asked(&router, request).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let body = answer.lines().last().unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        assert_eq!(body["error"], error, "{answer}");
    }
    // It is read each time.
    router.put_file("token", b"another one, of the length that is asked for");
    assert!(asked(&router, &change).await.starts_with("HTTP/1.1 403 "));
    let refused = router.call(&["plugin", "remove", "x", "--address", &own]).await;
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("no plugin"), "the command has the token: {error}");
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn nothing_changes_without_a_token() {
    let mut router = Router::new(UNREACHABLE, &[]);
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let token = format!(", token_file = {:?}", router.path("token").display().to_string());
    router.put_file("mo-router.toml", settings.replace(&token, "").as_bytes());
    router.start();
    let address = router.address().await;
    let refused = router.call(&["delayed", "release", "--address", &address]).await;
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("[http] token_file"), "{error}");
    assert!(router.stop().await.success());
}

/// More than the router takes at a time, and none of them says anything.
#[tokio::test]
async fn connections_that_say_nothing_do_not_last() {
    let mut router = Router::new(UNREACHABLE, &[]);
    router.start();
    let address = router.address().await;
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let files = std::fs::read_dir(format!("/proc/{}/fd", router.id())).unwrap().count();
    assert!(files < 250, "{files} files are open");
    ask_until("an answer", || async { (router.get("healthz").await.0 == 200).then_some(()) }).await;
    drop(silent);
    assert!(router.stop().await.success());
}

/// As many as the router takes at a time, each of which owes it a body.
#[tokio::test]
async fn connections_that_owe_a_body_do_not_last() {
    let mut router = Router::new(UNREACHABLE, &[]);
    router.start();
    let address = router.address().await;
    let head = "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 9\r\n\r\n";
    let owing: [TcpStream; 128] = std::array::from_fn(|_| {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket
    });
    ask_until("an answer", || async { (router.get("healthz").await.0 == 200).then_some(()) }).await;
    drop(owing);
    assert!(router.stop().await.success());
}

/// Those who wait for a line of a plugin's have few of the connections.
#[tokio::test]
async fn lines_are_waited_for_by_some_at_a_time() {
    const SEATS: usize = 32;
    let mut router = Router::new(UNREACHABLE, &[]);
    router.put("quiet", &hostile("well-behaved"));
    router.start();
    router.logged("plugin loaded").await;
    let address = router.address().await;
    let ask = "GET /plugins/quiet/logs?after=999999&wait=30000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let waiting: Vec<TcpStream> = (0..SEATS + 8)
        .map(|_| {
            let mut socket = TcpStream::connect(&address).unwrap();
            socket.write_all(ask.as_bytes()).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let answered = || waiting.iter().filter(|socket| socket.peek(&mut [0]).is_ok()).count();
    ask_until("an answer for who has no seat", || async { (answered() >= 8).then_some(()) }).await;
    assert_eq!(answered(), 8);
    drop(waiting);
    assert!(router.stop().await.success());
}

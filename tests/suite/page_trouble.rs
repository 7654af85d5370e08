//! The page, where something goes on meanwhile: late answers, a router or a connection that is lost,
//! another tab, rows that would move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::page::{WIDE, at, unlock};
use crate::support::ask_until;
use crate::support::browser::Browser;
use crate::support::letters;
use crate::support::router::TOKEN;
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::numbered;

/// Keeps back what the page asks for from now on at addresses that contain this.
pub async fn hold(browser: &Browser, part: &str) {
    let script = format!(
        "window.held = [];
         const ask = window.fetch;
         window.fetch = (path, ...rest) => String(path).includes({})
             ? new Promise((go) => held.push(go)).then(() => ask(path, ...rest)) : ask(path, ...rest)",
        json!(part)
    );
    browser.run(&script).await;
}

/// Waits until so much is kept back.
pub async fn held(browser: &Browser, count: usize) {
    browser.until("what is kept back", &format!("return held.length === {count}")).await;
}

/// Lets one of it go, and waits until the page has taken in the answer.
pub async fn let_go(browser: &Browser, number: usize) {
    let script = format!(
        "const done = arguments[arguments.length - 1];
         const answers = () => performance.getEntriesByType('resource')
             .filter(({{name, startTime}}) => name.includes('/api/') && startTime >= start).length;
         const start = performance.now();
         held[{number}]();
         const wait = () => (answers() ? setTimeout(done, 200) : setTimeout(wait, 20));
         wait()"
    );
    browser.run_async(&script).await;
}

#[tokio::test]
async fn a_late_answer_is_not_shown_under_another_letter() {
    let scene = Scene::shared().await;
    let rejects = [("phone-book", "config.answer = 'reject'")];
    let router = scene.run("", &rejects).await;
    scene.client.publish(MO, numbered(0..2)).await;
    scene.client.has(DEAD, 2).await;
    let letters = router.json(&["dead", "list"]).await;
    let [one, other] = [0, 1].map(|number| letters[number]["id"].as_str().unwrap().to_owned());
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, &format!("dead/{one}")).await).await;
    browser.shows("Properties").await;
    unlock(&browser).await;

    hold(&browser, "/try").await;
    browser.press("Try it with the plugin of today").await;
    browser.run(&format!("location.hash = '#/dead/{other}'")).await;
    browser.shows(&other).await;
    let ready = "return [...document.querySelectorAll('button')]
        .some((it) => it.textContent.startsWith('Try it') && !it.disabled)";
    browser.until("the other letter, which can be tried", ready).await;
    let_go(&browser, 0).await;
    assert_eq!(browser.run("return document.querySelector('.trial')").await, json!(null));

    // Nor is why the other one could not be read or changed.
    hold(&browser, "/api/dead/").await;
    browser.run("location.hash = '#/dead/0000000000000000'").await;
    held(&browser, 1).await;
    browser.run(&format!("location.hash = '#/dead/{one}'")).await;
    held(&browser, 2).await;
    let_go(&browser, 1).await;
    let_go(&browser, 0).await;
    browser.shows("Properties").await;
    let text = browser.text().await;
    assert!(text.contains(&one) && !text.contains("no dead letter has the id"), "{text}");

    // On the view that tries events it is the same.
    browser.open("about:blank").await;
    browser.open(&at(&router, "trial?plugin=phone-book").await).await;
    browser.shows("What time it is").await;
    hold(&browser, "/api/try").await;
    browser.press("Run").await;
    browser.run("location.hash = '#/overview'").await;
    browser.shows("The last hour").await;
    browser.run("location.hash = '#/trial?plugin=phone-book'").await;
    browser.shows("What time it is").await;
    let_go(&browser, 0).await;
    assert_eq!(browser.run("return document.querySelector('.trial')").await, json!(null));
}

#[tokio::test]
async fn what_was_asked_for_while_the_router_was_away_is_asked_for_again() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    let address = router.address().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "dead").await).await;
    browser.shows("There are no dead letters").await;
    unlock(&browser).await;
    router.stop().await;
    browser.shows("The router does not answer").await;
    for (view, shown) in
        [("delayed", "Nothing is delayed"), ("dead?plugin=forward", "There are no dead letters")]
    {
        browser.run(&format!("location.hash = '#/{view}'")).await;
        let alerts = "return document.querySelectorAll('[role=alert]').length";
        browser.until("why it cannot be read", &format!("{alerts} === 2")).await;
        router.start_with_variables(&[&format!("MO_ROUTER_HTTP_LISTEN={address}")]);
        router.logged("ready").await;
        browser.shows(shown).await;
        browser.until("no failure", &format!("{alerts} === 0")).await;
        // A router that has started anew knows nobody.
        browser.shows("Unlock changes").await;
        router.stop().await;
        browser.shows("The router does not answer").await;
    }
}

/// A way to a router on which everything can stop that is on it, without a word.
async fn way(to: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Connections that are made from then on are whole again.
            let ends = !stopped.load(Relaxed);
            tokio::spawn(pass(from_client, to_server, Arc::clone(&stopped), ends));
            tokio::spawn(pass(from_server, to_client, Arc::clone(&stopped), ends));
        }
    });
    (address, stop)
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    stopped: Arc<AtomicBool>,
    ends: bool,
) {
    let mut part = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        if ends && stopped.load(Relaxed) {
            continue;
        }
        if to.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_without_a_word_is_made_anew() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let (address, stop) = way(router.address().await).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&format!("http://{address}/")).await;
    browser.shows("All is well").await;
    let told = "const folder = document.getElementById('app').src.replace('app.js', '');
        return import(`${folder}state.js`).then(({state}) => Date.parse(state.router.now))";
    stop.store(true, Relaxed);
    let last = browser.run(told).await.as_u64().unwrap();
    // What was on its way may have come after that.
    ask_until("the router to be heard again", || async {
        let now = browser.run(told).await.as_u64().unwrap();
        (now > last + 3000).then_some(())
    })
    .await;
    assert!(!browser.text().await.contains("does not answer"));
}

#[tokio::test]
async fn changes_go_on_when_another_tab_has_unlocked_them() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    scene.client.publish(DEAD, [letters::publication(1, "forward", MO, "it was full")]).await;
    scene.client.has(DEAD, 1).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "dead").await).await;
    unlock(&browser).await;
    browser.shows("it was full").await;
    // What another tab does: the browser has one cookie for both.
    let other = format!(
        "return fetch('/api/session', {{method: 'POST', headers: {{'content-type': 'application/json'}},
             body: JSON.stringify({{token: {}, who: 'Grace'}})}}).then(({{ok}}) => ok)",
        json!(TOKEN)
    );
    assert_eq!(browser.run(&other).await, true);
    browser.press("Discard").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 discarded.").await;
    let logged = router.logged("1 dead letters discarded").await;
    assert!(logged.contains("Grace"), "{logged}");
}

#[tokio::test]
async fn groups_stand_still_while_somebody_aims_at_one_and_the_question_names_it() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let letter = |number, reason| letters::publication(number, "forward", MO, reason);
    scene.client.publish(DEAD, [letter(1, "it was full"), letter(2, "it was full")]).await;
    scene.client.publish(DEAD, [letter(3, "it was closed")]).await;
    scene.client.has(DEAD, 3).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "dead").await).await;
    unlock(&browser).await;
    browser.shows("it was closed").await;
    let reasons =
        "return [...document.querySelectorAll('td.reason')].map((it) => it.innerText).join()";
    assert_eq!(browser.run(reasons).await, "it was full,it was closed");
    browser.run("window.row = document.querySelectorAll('tbody tr')[1]").await;

    browser.point_at("tbody tr:first-child td.reason").await;
    hold(&browser, "/api/dead/groups").await;
    // It is so late that they would be read again with the next number of letters.
    browser.run("const now = Date.now; Date.now = () => now() + 60_000").await;
    scene.client.publish(DEAD, (4..7).map(|number| letter(number, "it was closed"))).await;
    browser
        .until("six letters", "return document.querySelector('nav .count')?.innerText === '6'")
        .await;
    assert_eq!(browser.run("return held.length").await, 0);
    browser.point_at("h1").await;
    held(&browser, 1).await;
    let_go(&browser, 0).await;
    browser.until("another order", &format!("{reasons} === 'it was closed,it was full'")).await;
    // A row goes with its group.
    let moved = "return document.querySelectorAll('tbody tr')[0] === window.row";
    assert_eq!(browser.run(moved).await, true);

    browser.press("Discard").await;
    browser.find("dialog").await;
    let question = browser.run("return document.querySelector('dialog').innerText").await;
    let question = question.as_str().unwrap();
    for part in ["Delete 4 for good?", "forward", "it was closed"] {
        assert!(question.contains(part), "{question}");
    }
    browser.click("dialog button[type=submit]").await;
    browser.shows("4 discarded.").await;
    scene.client.has(DEAD, 2).await;
}

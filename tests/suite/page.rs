//! The page, in a browser: every view, with text that tries to be markup; what people change with
//! the token, and cannot without; a router that restarts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures::future::join_all;
use lapin::BasicProperties;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::page_pictures::fill;
use crate::support::browser::Browser;
use crate::support::letters::{self, table, text};
use crate::support::router::{Router, TOKEN};
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::{Event, numbered};
use crate::support::{ask_until, within_reason};

/// What a browser would run, or show as more than text, or in another direction.
const MARKUP: &str = "<img src=x onerror=\"window.hit=1\"><b class=injected>bold</b>\u{202e}end";
/// As it is shown.
const SHOWN: &str = "<img src=x onerror=\"window.hit=1\"><b class=injected>bold</b>\\u{202e}end";
/// The same where a routing key has no room for dots.
const KEY: &str = "employee.<img src=x onerror=hit=1>\u{202e}.create";

/// How large a window is, and a phone's.
pub const WIDE: (u32, u32) = (1280, 920);
pub const PHONE: (u32, u32) = (390, 844);

/// A router with plugins that publish, delay, reject and fail.
async fn at_work(scene: &Scene) -> Router {
    let markup = toml(MARKUP);
    let rejects =
        format!("config.answer = 'reject'\nconfig.reason = {markup}\nconfig.only = 'bad'");
    let logs = format!("config.log = {markup}");
    scene
        .run(
            "",
            &[
                ("to-active-directory", logs.as_str()),
                ("onboarding", "config.delay = '86400000'"),
                ("phone-book", rejects.as_str()),
            ],
        )
        .await
}

fn toml(text: &str) -> String {
    format!("'''{text}'''")
}

/// An event whose key, headers and body are markup.
fn hostile(bad: bool) -> Event {
    let person = "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60";
    let word = if bad { "bad" } else { "good" };
    let body = serde_json::json!({"uuid": person, "time": "2024-07-01T00:00:00+02:00", "note": MARKUP, "is": word});
    let headers = table(&[(MARKUP, text(MARKUP))]);
    let properties =
        BasicProperties::default().with_headers(headers).with_message_id(MARKUP.into());
    Event { key: KEY.into(), body: body.to_string().into_bytes(), properties }
}

/// Sends both kinds, and waits until there is a dead letter.
async fn stir(scene: &Scene) {
    scene.client.publish(MO, [hostile(true), hostile(false)]).await;
    let arrived = || async { (scene.client.depth(DEAD).await >= 1).then_some(()) };
    ask_until("a dead letter", arrived).await;
}

/// The address of a view.
pub async fn at(router: &Router, path: &str) -> String {
    format!("http://{}/#/{path}", router.address().await)
}

/// Nothing that came from outside is more than text, and nothing broke.
async fn assert_only_text(browser: &Browser, view: &str) {
    let found = browser
        .run(
            "return {
                hit: window.hit ?? null,
                elements: document.querySelectorAll('img:not([alt=\"\"]), .injected, script:not(#app)').length,
                turned: turned(),
            };
            function turned() {
                const all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
                const found = [];
                for (let node = all.nextNode(); node; node = all.nextNode()) {
                    const texts = node.data ? [node.data] : [...node.attributes ?? []].map((it) => it.value);
                    found.push(...texts.filter((text) => /[\\u202a-\\u202e]/.test(text)));
                }
                return found;
            }",
        )
        .await;
    let nothing = serde_json::json!({"hit": null, "elements": 0, "turned": []});
    assert_eq!(found, nothing, "{view}");
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{view}: {complaints:#?}");
}

/// axe finds nothing, and nothing is wider than the window.
async fn assert_accessible(browser: &Browser, view: &str) {
    let axe = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).unwrap();
    if browser.run("return window.axe === undefined").await == true {
        browser.run(&axe).await;
    }
    let violations = browser
        .run_async(
            "const done = arguments[arguments.length - 1];
             axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
                 rules: {'target-size': {enabled: true}}})
                .then(({violations}) => done(violations.map(({id, impact, nodes}) =>
                    `${impact} ${id}: ${nodes.map((it) => `${it.html} ${it.failureSummary}`).join('\\n  ')}`)),
                    (error) => done([String(error)]))",
        )
        .await;
    let violations: Vec<_> =
        violations.as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    assert!(violations.is_empty(), "{view}:\n{}", violations.join("\n"));
    let script =
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.run(script).await, 0, "{view} is wider than the window");
}

/// The same of what is open now, in light and dark, wide and narrow.
async fn assert_accessible_always(browser: &Browser, what: &str) {
    for ((width, height), dark) in [(WIDE, true), (PHONE, true), (PHONE, false), (WIDE, false)] {
        browser.resize(width, height).await;
        browser.set_dark(dark).await;
        assert_accessible(browser, &format!("{what}, {width} wide, dark: {dark}")).await;
    }
}

/// The views, what each shows when it is there, and how a letter's and a message's are found.
async fn views(router: &Router) -> Vec<(&'static str, String, &'static str)> {
    let letters = router.json(&["dead", "list"]).await;
    let letter = letters[0]["id"].as_str().expect("a dead letter").to_owned();
    let message = router.json(&["delayed", "list"]).await[0]["id"].to_string();
    vec![
        ("overview", "overview".into(), "The last hour"),
        ("plugins", "plugins".into(), "to-active-directory"),
        ("plugin", "plugins/to-active-directory".into(), "loaded"),
        ("delayed", "delayed".into(), "Next ten years"),
        ("delayed-message", format!("delayed/{message}"), "Properties"),
        ("dead", "dead".into(), "Last 24 hours"),
        ("dead-list", "dead?plugin=phone-book".into(), "Routing key"),
        ("dead-letter", format!("dead/{letter}"), "Properties"),
        ("tail", "tail".into(), "phone-book"),
        ("try", "trial".into(), "What time it is"),
    ]
}

#[tokio::test]
async fn every_view_shows_text_as_text_in_light_and_dark_wide_and_narrow() {
    let scene = Scene::shared().await;
    let router = at_work(&scene).await;
    stir(&scene).await;
    scene.client.publish(MO, numbered(0..40)).await;
    router.status_until("onboarding", |status| status["delayed"] == 42).await;
    let views = views(&router).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    for (name, path, shown) in &views {
        browser.open("about:blank").await;
        browser.open(&at(&router, path).await).await;
        if *name == "tail" {
            // One is opened, to see its way.
            browser.shows("All decisions since").await;
            scene.client.publish(MO, [hostile(true), hostile(false)]).await;
            browser.click(".decision .summary").await;
        }
        browser.shows(shown).await;
        assert_only_text(&browser, name).await;
        assert_accessible_always(&browser, name).await;
    }
}

#[tokio::test]
async fn what_is_tried_is_shown_and_nothing_leaves() {
    let scene = Scene::shared().await;
    let router = at_work(&scene).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "trial?plugin=onboarding").await).await;
    browser.press("Run").await;
    browser.shows("Nothing has left the router").await;
    browser.shows("routed · employee.engagement.create").await;
    assert_accessible(&browser, "trial").await;
    browser.open(&at(&router, "trial?plugin=phone-book").await).await;
    let event = serde_json::json!({"routing_key": KEY, "headers": {MARKUP: MARKUP},
        "body": {"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "bad": MARKUP}});
    browser.find("textarea").await.fill(&event.to_string()).await;
    browser.press("Run").await;
    browser.shows(SHOWN).await;
    assert_only_text(&browser, "trial").await;
    assert_eq!(router.json(&["delayed", "count"]).await["total"], 0);
    assert_eq!(scene.client.depth("routed").await, 0);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn without_the_token_nothing_can_be_changed_and_with_it_all_can() {
    let scene = Scene::shared().await;
    let router = at_work(&scene).await;
    stir(&scene).await;
    scene.client.publish(MO, numbered(0..3)).await;
    router.status_until("onboarding", |status| status["delayed"] == 5).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;

    browser.open(&at(&router, "dead").await).await;
    browser.shows("To change anything, unlock").await;
    assert!(!browser.has_button("Requeue").await && !browser.has_button("Discard").await);
    browser.open(&at(&router, "delayed").await).await;
    browser.shows("To change anything, unlock").await;
    assert!(!browser.has_button("Cancel it").await);

    browser.press("Unlock changes").await;
    browser.find("input[name=token]").await.fill("it is not this one").await;
    browser.find("input[name=who]").await.fill("Ada").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("this is not the token").await;
    assert_accessible_always(&browser, "the dialog for the token").await;
    browser.find("input[name=token]").await.fill(TOKEN).await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("Lock changes").await;

    // Dead letters: a group is sent back, and dies again; then it is discarded.
    browser.open(&at(&router, "dead").await).await;
    assert_accessible_always(&browser, "dead letters, unlocked").await;
    browser.press("Requeue").await;
    assert_accessible_always(&browser, "the dialog that asks whether to requeue").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 sent back.").await;
    router.logged("1 dead letters sent back").await;
    router.status_until("phone-book", |status| status["dead"] == 2).await;
    // It is counted before it is in the queue.
    scene.client.has(DEAD, 1).await;
    browser.press("Read again").await;
    browser.press("Discard").await;
    assert_accessible_always(&browser, "the dialog that asks whether to discard").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 discarded.").await;
    let logged = router.logged("1 dead letters discarded").await;
    assert!(logged.contains("Ada") && logged.contains("127.0.0.1"), "{logged}");

    // Delayed messages: one is cancelled, one moved, one sent.
    let ids = router.json(&["delayed", "list"]).await;
    let id = |index: usize| ids[index]["id"].to_string();
    browser.open(&at(&router, &format!("delayed/{}", id(0))).await).await;
    browser.press("Cancel it").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 changed.").await;
    router.logged("cancel: delayed messages").await;
    browser.open(&at(&router, &format!("delayed/{}", id(1))).await).await;
    assert_accessible_always(&browser, "a delayed message, unlocked").await;
    browser.press("Reschedule").await;
    assert_accessible_always(&browser, "the dialog for another time").await;
    browser.run("document.querySelector('input[name=due]').value = '2077-01-02T03:04:05'").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("2077-01-02 03:04:05 +01:00").await;
    browser.open(&at(&router, &format!("delayed/{}", id(2))).await).await;
    browser.press("Send now").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 changed.").await;
    router.logged("send now: delayed messages").await;
    let left = || async { (router.json(&["delayed", "count"]).await["total"] == 3).then_some(()) };
    ask_until("two messages fewer", left).await;

    browser.press("Lock changes").await;
    browser.shows("Unlock changes").await;
    assert!(!browser.has_button("Send now").await);
    assert_only_text(&browser, "what was changed").await;
}

/// Shows the token to the page that is open.
pub async fn unlock(browser: &Browser) {
    browser.press("Unlock changes").await;
    browser.find("input[name=token]").await.fill(TOKEN).await;
    browser.find("input[name=who]").await.fill("Ada").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("Lock changes").await;
}

#[tokio::test]
async fn one_letter_is_tried_sent_back_and_discarded_on_its_page() {
    let scene = Scene::shared().await;
    let router = at_work(&scene).await;
    stir(&scene).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    let letter = async || {
        let letters = router.json(&["dead", "list"]).await;
        let id = letters[0]["id"].as_str().expect("a dead letter").to_owned();
        at(&router, &format!("dead/{id}")).await
    };
    browser.open(&letter().await).await;
    unlock(&browser).await;
    browser.press("Try it with the plugin of today").await;
    browser.shows("Nothing has left the router").await;
    assert_only_text(&browser, "the trial of a letter").await;
    scene.client.has(DEAD, 1).await;

    browser.press("Requeue").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 sent back.").await;
    router.status_until("phone-book", |status| status["dead"] == 2).await;
    scene.client.has(DEAD, 1).await;
    browser.open(&letter().await).await;
    browser.press("Discard").await;
    browser.click("dialog button[type=submit]").await;
    browser.shows("1 discarded.").await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn without_a_token_file_the_page_only_shows() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let (before, rest) = settings.split_once(", token_file = ").unwrap();
    let (_, after) = rest.split_once(" }").unwrap();
    router.put_file("mo-router.toml", format!("{before} }}{after}").as_bytes());
    router.start_ready().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    for path in ["dead", "delayed"] {
        browser.open(&at(&router, path).await).await;
        browser.shows("This page only shows").await;
        assert!(!browser.has_button("Unlock changes").await);
    }
}

#[tokio::test]
async fn the_flow_has_each_exchange_that_messages_go_to() {
    let scene = Scene::shared().await;
    scene.client.exchange("payroll", true).await;
    scene.client.catch_all("payroll").await;
    let to = "exchanges = ['payroll']\nconfig.to = 'payroll'";
    let router = scene.run("", &[("forward", ""), ("to-payroll", to)]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "overview").await).await;
    let targets = "return [...document.querySelectorAll('.node.target strong')].map((it) => it.textContent).join()";
    browser
        .until("the output exchange", &format!("{targets}.startsWith('routed,0 delayed')"))
        .await;
    scene.client.publish(MO, numbered(0..10)).await;
    browser.until("the other exchange", &format!("{targets}.startsWith('routed,payroll,')")).await;
    let edges = "return document.querySelectorAll('.edge.out').length";
    browser.until("a connection to each", &format!("{edges} === 2")).await;
    assert_accessible(&browser, "the flow").await;
    std::fs::remove_file(router.path("delays.db")).unwrap();
    browser.find("a.target.bad[href='#/delayed']").await;
    browser.shows("unreachable").await;
}

#[tokio::test]
async fn the_tail_is_filtered_by_plugin_and_topic() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", ""), ("other", "config.answer = 'drop'")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "tail").await).await;
    browser.shows("All decisions since").await;
    browser.run("document.querySelector('select[name=plugin]').value = 'other'").await;
    browser.find("input[name=topic]").await.fill("org_unit.#").await;
    browser.press("Filter").await;
    browser.until("the filter", "return location.hash.includes('topic=org_unit')").await;
    let body = numbered([1]).next().unwrap().body;
    let of_unit = || Event::new("org_unit.org_unit.edit", body.clone());
    // The stream with the filter may begin a little later.
    let shown = || async {
        scene.client.publish(MO, numbered([1]).chain([of_unit()])).await;
        (browser.run("return document.querySelectorAll('.decision').length").await != 0)
            .then_some(())
    };
    ask_until("a decision", shown).await;
    let texts =
        "return [...document.querySelectorAll('.decision')].map((it) => it.innerText).join()";
    let texts = browser.run(texts).await.as_str().unwrap().to_owned();
    assert!(texts.contains("other") && texts.contains("org_unit.org_unit.edit"), "{texts}");
    assert!(!texts.contains("forward") && !texts.contains("employee"), "{texts}");
}

#[tokio::test]
async fn a_suspended_plugin_is_resumed_on_its_page() {
    let scene = Scene::shared().await;
    let plugin = "config.answer = 'retry'\nlimits.suspend_after = 2\nlimits.attempts = 100";
    let router = scene.run("", &[("ill", plugin)]).await;
    scene.client.publish(MO, numbered(0..4)).await;
    router.status_until("ill", |status| status["state"] == "suspended").await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "overview").await).await;
    browser.shows("plugin-suspended").await;
    let reasons = "return document.querySelectorAll('.reasons li').length";
    assert_eq!(browser.run(reasons).await, 1, "{}", browser.text().await);
    assert_accessible(&browser, "the overview").await;
    unlock(&browser).await;
    browser.open(&at(&router, "plugins/ill").await).await;
    // While it is being tried there is nothing to resume.
    let resume = "[...document.querySelectorAll('button')].find((it) => it.textContent === 'Resume')?.click()";
    let resumed = || async {
        browser.run(resume).await;
        (router.count_logged("plugin ill is resumed") > 0).then_some(())
    };
    ask_until("it to be resumed", resumed).await;
}

#[tokio::test]
async fn each_reason_is_told_once_with_what_to_do() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    router.put("broken", b"it is no plugin");
    router.start();
    router.logged("broken").await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "overview").await).await;
    let codes = "[...document.querySelectorAll('.reasons code')].map((it) => it.textContent)";
    browser.until("one reason", &format!("return {codes}.join() === 'plugin-refused'")).await;
    browser.shows("Fix the file and put it there again").await;
    let link = "return document.querySelector('.reasons a').getAttribute('href')";
    assert_eq!(browser.run(link).await, "#/plugins/broken");
    scene.client.publish(DEAD, [letters::publication(1, "forward", MO, "it was full")]).await;
    let two = format!("return {codes}.sort().join() === 'dead-letters,plugin-refused'");
    browser.until("two reasons", &two).await;
    browser.shows("Where it is “not an event of MO”, look at the sender").await;
}

#[tokio::test]
async fn a_page_goes_on_when_its_router_restarts() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    let address = router.address().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&format!("http://{address}/")).await;
    browser.shows("All is well").await;
    router.stop().await;
    browser.shows("The router does not answer").await;
    router.start_with_variables(&[&format!("MO_ROUTER_HTTP_LISTEN={address}")]);
    router.logged("ready").await;
    let back = "return document.body.innerText.includes('All is well') \
                && !document.body.innerText.includes('does not answer')";
    browser.until("the page to go on", back).await;
}

#[tokio::test]
async fn the_tail_goes_on_when_its_router_restarts_or_has_refused_it() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    let address = router.address().await;
    // Others look already, as many as may.
    let others: Vec<_> = join_all((0..16).map(|_| tail(&address))).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "tail").await).await;
    browser.shows("The router refuses to show decisions").await;
    assert!(!browser.text().await.contains("The router does not answer"));
    drop(others);
    let taken = "return !document.body.innerText.includes('refuses')";
    browser.until("room for one more", taken).await;
    let decisions = "return document.querySelectorAll('.decision').length";
    scene.client.publish(MO, numbered([1])).await;
    assert_eq!(browser.until("a decision", decisions).await, 1);
    let since = "return document.body.innerText.match(/decisions since ([0-9:]+)/)?.[1]";
    let first = browser.until("since when", since).await;

    router.stop().await;
    browser.shows("The router does not answer").await;
    router.start_with_variables(&[&format!("MO_ROUTER_HTTP_LISTEN={address}")]);
    router.logged("ready").await;
    let back = "return !document.body.innerText.includes('does not answer') \
                && !document.body.innerText.includes('refuses')";
    browser.until("the page to go on", back).await;
    // It may listen to the tail a little later than to the rest.
    let number = AtomicU64::new(2);
    let shown = || async {
        scene.client.publish(MO, numbered([number.fetch_add(1, Relaxed)])).await;
        (browser.run(decisions).await.as_u64() > Some(1)).then_some(())
    };
    ask_until("another decision", shown).await;
    ask_until("it to count from the restart on", || async {
        (browser.run(since).await != first).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_tail_counts_from_when_its_window_is_seen_again() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "tail").await).await;
    let since = "return document.body.innerText.match(/decisions since ([0-9:]+)/)?.[1]";
    let first = browser.until("since when", since).await;
    let shown = browser.run("return Date.now()").await;
    let later = format!("return Date.now() > {shown} + 1000");
    browser.until("another second", &later).await;
    for hidden in [true, false] {
        let script = format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        );
        browser.run(&script).await;
    }
    // Nothing is decided, so that the count is 0 before and after.
    ask_until("it to count from now on", || async {
        (browser.run(since).await != first).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rows_of_the_tail_stand_still_while_somebody_aims_at_one() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "tail").await).await;
    browser.shows("All decisions since").await;
    let rows = "return document.querySelectorAll('.decision').length";
    let publish = async |number| scene.client.publish(MO, numbered([number])).await;
    publish(1).await;
    browser.until("a decision", rows).await;
    browser.run("window.first = document.querySelector('.decision')").await;
    publish(2).await;
    // A row stays the same one when there is another above it.
    let below = "return document.querySelectorAll('.decision')[1] === window.first";
    browser.until("a second decision", below).await;

    browser.point_at(".decision").await;
    publish(3).await;
    browser
        .until(
            "one that waits",
            "return document.querySelector('button.new').textContent === '1 new'",
        )
        .await;
    assert_eq!(browser.run(rows).await, 2);
    browser.point_at("h1").await;
    browser.until("a third decision", &format!("{rows} === 3")).await;

    // One that is opened is read, and the others wait until they are asked for.
    browser.click(".decision .summary").await;
    browser.shows("Came through exchange").await;
    publish(4).await;
    browser.press("1 new").await;
    browser.until("a fourth decision", &format!("{rows} === 4")).await;
    browser.shows("Came through exchange").await;
    browser.press("Pause").await;
    browser.click("[aria-expanded=true]").await;
    publish(5).await;
    browser.shows("1 new").await;
    browser.press("Go on").await;
    browser.until("a fifth decision", &format!("{rows} === 5")).await;
}

/// Follows decisions, and reads what it is told of them.
async fn tail(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /api/tail HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 15];
    within_reason("a tail", stream.read_exact(&mut start)).await.unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn pages_in_many_windows_leave_each_other_connections() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    // A browser makes six connections to a router: these have room beside each other, and of the
    // tabs of one window one alone is seen.
    for kind in ["window", "window", "window", "tab", "tab", "tab", "tab"] {
        browser.open(&at(&router, "tail").await).await;
        browser.shows("All decisions since").await;
        browser.go_on_in_new(kind).await;
    }
    browser.open(&at(&router, "delayed").await).await;
    browser.shows("Nothing is delayed").await;
    assert_eq!(browser.run("return fetch('/api/history').then(({ok}) => ok)").await, true);
}

#[tokio::test]
async fn the_page_speaks_danish() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "overview").await).await;
    browser.shows("All is well").await;
    browser.run("const it = document.getElementById('language'); it.value = 'da'; it.dispatchEvent(new Event('change'))").await;
    browser.shows("Alt er vel").await;
    assert_eq!(browser.run("return document.documentElement.lang").await, "da");
    assert_accessible(&browser, "på dansk").await;
    // Each language has the same words.
    let missing = browser
        .run_async(
            "const done = arguments[arguments.length - 1];
             const folder = document.getElementById('app').src.replace('app.js', 'texts/');
             Promise.all(['en', 'da'].map((it) => import(`${folder}${it}.js`))).then(([en, da]) => {
                 const names = (it) => Object.keys(it.default).sort();
                 done(names(en).filter((it) => !(it in da.default))
                     .concat(names(da).filter((it) => !(it in en.default))));
             })",
        )
        .await;
    assert_eq!(missing, serde_json::json!([]));
}

/// So many messages wait, or as many as `ROWS` says: with a million it takes its time.
#[expect(clippy::disallowed_methods, reason = "how much is tried is no setting of the router's")]
fn rows() -> u64 {
    std::env::var("ROWS").map_or(100_000, |rows| rows.parse().expect("ROWS is a number"))
}

/// 1,234,567
fn with_commas(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", with_commas(number / 1000), number % 1000),
    }
}

/// Says how long the answers took that a view was made of.
async fn print_answers(browser: &Browser, view: &str) {
    let script = "const entries = performance.getEntriesByType('resource');
        performance.clearResourceTimings();
        return entries.filter(({name}) => name.includes('/api/'))
            .map(({name, duration}) => `${new URL(name).pathname} ${Math.round(duration)} ms`).join(', ')";
    println!("{view}: {}", browser.run(script).await.as_str().unwrap_or_default());
}

#[tokio::test]
async fn ten_thousand_letters_and_a_hundred_thousand_delayed_messages_are_shown_in_pages() {
    let count = rows();
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    let store = format!("sqlite:{}", router.path("delays.db").display());
    let plugin = |number: u64| if number.is_multiple_of(4) { "phone-book" } else { "onboarding" };
    fill(&store, count, plugin).await;
    router.start_ready().await;
    router.json(&["dead", "list"]).await;
    letters::put(&scene.client, 10_000, |number| {
        let reason = ["the phone book is full", "no such unit"][number as usize % 2];
        letters::publication(number, "phone-book", MO, reason)
    })
    .await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "dead").await).await;
    browser.shows("5,000").await;
    print_answers(&browser, "dead").await;
    browser.click("td.reason a").await;
    browser.press("Next").await;
    browser.shows("Previous").await;
    let rows = "return document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.until("a page of letters", rows).await, 50);

    browser.open(&at(&router, "delayed").await).await;
    browser.shows(&format!("{} messages wait", with_commas(count))).await;
    print_answers(&browser, "delayed").await;
    browser.press("More").await;
    let two_pages = format!("{rows} === 100");
    browser.until("two pages of messages", &two_pages).await;
    for (query, count, shown) in [
        ("plugin=phone-book", count / 4, 50),
        ("key=engagement%2F77", 1, 1),
        ("uuid=00000000-0000-0000-0000-00000000004E", 1, 1),
        ("plugin=onboarding&key=engagement%2F77", 1, 1),
        ("plugin=phone-book&key=engagement%2F77", 0, 0),
    ] {
        browser.open(&at(&router, &format!("delayed?{query}")).await).await;
        browser.until("the list", &format!("{rows} === {shown}")).await;
        let waiting = match count {
            1 => "One message waits".to_owned(),
            count => format!("\n{} messages wait", with_commas(count)),
        };
        browser.shows(&waiting).await;
        print_answers(&browser, query).await;
    }
}

#[tokio::test]
async fn a_bar_of_the_timeline_opens_to_its_messages_and_closes_again() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    let store = format!("sqlite:{}", router.path("delays.db").display());
    fill(&store, 1500, |_| "onboarding").await;
    router.start_ready().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "delayed").await).await;
    browser.shows("The next ones").await;
    let open = "document.querySelectorAll('.bars [aria-pressed=true]').length";
    browser.click(".bars:last-child button:not(:disabled)").await;
    browser.until("an open bar", &format!("return {open} === 1")).await;
    assert_accessible_always(&browser, "an open bar").await;
    browser.shows("Show all").await;
    // Counted again, the bars begin at another time.
    let counted = "performance.getEntriesByType('resource').filter(({name}) => name.includes('timeline')).length";
    let before = browser.run(&format!("return {counted}")).await.as_u64().unwrap();
    browser.press("Search").await;
    browser.until("another count", &format!("return {counted} > {before}")).await;
    browser.until("the open bar", &format!("return {open} === 1")).await;
    browser.click(".bars [aria-pressed=true]").await;
    browser.until("no open bar", &format!("return {open} === 0")).await;
    browser.shows("The next ones").await;
}

//! What the page shows of what it is told: the flow where it stops, bodies as they were sent, fields that
//! say what holds, files to save and files that are dropped.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use super::page::{WIDE, at, unlock};
use super::page_pictures::fill;
use super::page_trouble::{held, hold, let_go};
use crate::support::browser::Browser;
use crate::support::letters::table;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::{Event, numbered};

/// What a script makes of modules of the page that it names; what it returns is given.
async fn with_modules(browser: &Browser, names: &[&str], script: &str) -> Value {
    let files = names.iter().map(|name| format!("import(`${{folder}}{name}.js`)"));
    let script = format!(
        "const done = arguments[arguments.length - 1];
         const folder = document.getElementById('app').src.replace('app.js', '');
         Promise.all([{}]).then(([{}]) => {{ {script} }}).then(done, (error) => done(String(error)))",
        files.collect::<Vec<_>>().join(", "),
        names.iter().map(|name| name.replace("views/", "")).collect::<Vec<_>>().join(", "),
    );
    browser.run_async(&script).await
}

/// A plugin as the page is told of it, with what is given of it.
fn plugin(name: &str, more: &Value) -> Value {
    let mut plugin = json!({"name": name, "version": "1", "state": "running", "stale": null, "backlog": 0,
        "in_flight": 0, "received": 0, "delayed": 0, "dead": 0, "failures": 0, "exchanges": {"routed": 5}});
    let more = more.as_object().unwrap().clone();
    plugin.as_object_mut().unwrap().extend(more);
    plugin
}

/// The overview of a router with these plugins and reasons: its text, and the nodes of the flow that are
/// marked, each with its name and what is said of it.
async fn overview(
    browser: &Browser,
    plugins: &[Value],
    reasons: &[[&str; 2]],
) -> (String, Vec<String>) {
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|[code, subject]| json!({"code": code, "subject": subject, "text": "it is so"}))
        .collect();
    let router = json!({"amqp": true, "ready": true, "reasons": reasons, "plugins": plugins, "since": "2026-01-01T00:00:00Z",
        "exchange": "os2mo", "output_exchange": "routed", "delayed": 0, "overdue": 0, "dead_letters": 0});
    let script = format!(
        "const before = state.state.router;
         state.state.router = {router};
         const place = document.createElement('div');
         html.render(overview.view(), place);
         state.state.router = before;
         const nodes = [...place.querySelectorAll('.node.bad')];
         return {{
             text: place.textContent,
             marked: nodes.map((it) => `${{it.querySelector('strong').textContent}}: ${{it.querySelector('.badge').textContent}}`),
         }};"
    );
    let shown = with_modules(browser, &["state", "html", "views/overview"], &script).await;
    let text = shown["text"].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned();
    let marked = shown["marked"].as_array().unwrap().iter();
    (text, marked.map(|it| it.as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_stall_is_shown_where_it_is_and_only_running_plugins_take_events() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "overview").await).await;
    browser.shows("The last hour").await;
    let [one, other] = ["one", "other"].map(|name| plugin(name, &json!({})));
    for (reason, expected) in [
        (["settlement-stalled", "one"], "one: stalled"),
        (["binding-missing", "mo-router.other"], "other: gets no events"),
        (["not-permitted", "mo-router.other"], "other: not permitted"),
        (["broker-blocked", "broker"], "os2mo: takes no messages"),
        (["broker-unreachable", "broker"], "os2mo: unreachable"),
        (["exchange-missing", "os2mo"], "os2mo: missing"),
        (["exchange-missing", "routed"], "routed: missing"),
        (["exchange-missing", "payroll"], "payroll: missing"),
        (["not-permitted", "routed"], "routed: not permitted"),
    ] {
        let (_, marked) = overview(&browser, &[one.clone(), other.clone()], &[reason]).await;
        assert_eq!(marked, [expected], "{reason:?}");
    }

    let removed = |backlog: u64| plugin("gone", &json!({"state": "removed", "backlog": backlog}));
    let (text, _) = overview(&browser, &[one.clone(), other, removed(0)], &[]).await;
    assert!(text.contains("All is well: 2 plugins take events"), "{text}");
    let (text, _) = overview(&browser, &[one, removed(7)], &[]).await;
    assert!(text.contains("7 events wait for gone, whose file was removed"), "{text}");
    assert!(text.contains("Put its file back"), "{text}");
    let (text, _) = overview(&browser, &[removed(0)], &[]).await;
    assert!(text.contains("no plugin runs"), "{text}");
    // How fast a backlog shrinks is not known at the first look.
    let (text, _) = overview(&browser, &[plugin("new", &json!({"backlog": 5000}))], &[]).await;
    assert!(text.contains("All is well") && !text.contains("does not shrink"), "{text}");
}

#[tokio::test]
async fn a_body_is_shown_as_it_was_sent() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("phone-book", "config.answer = 'reject'")]).await;
    let body = r#"{"uuid":"cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60","number":9007199254740993,"number":1.50,"name":"\u00c5se","none":[]}"#;
    let headers = table(&[("large", AMQPValue::LongLongInt(9_007_199_254_740_995))]);
    let properties = BasicProperties::default().with_headers(headers);
    scene
        .client
        .publish(MO, [Event { key: "employee.it.create".into(), body: body.into(), properties }])
        .await;
    scene.client.has(DEAD, 1).await;
    let letters = router.json(&["dead", "list"]).await;
    let letter = letters[0]["id"].as_str().unwrap();
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, &format!("dead/{letter}")).await).await;
    browser.shows("Properties").await;
    let shown = "{\n  \"uuid\": \"cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60\",\n  \"number\": 9007199254740993,\n  \"number\": 1.50,\n  \"name\": \"Åse\",\n  \"none\": []\n}";
    let bodies = "return document.querySelector('.body pre').textContent";
    assert_eq!(browser.run(bodies).await, shown);
    browser.shows("9007199254740995").await;
    // 64 KiB of brackets do not become gigabytes.
    let deep = "return exact.indented('['.repeat(30_000) + ']'.repeat(30_000)).length";
    let length = with_modules(&browser, &["exact"], deep).await;
    assert!(length.as_u64().is_some_and(|length| length < 10_000_000), "{length}");
}

/// A traceback is several lines.
#[tokio::test]
async fn a_log_is_read_downwards_and_its_end_is_in_view() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "config.log = 'it is so'")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    let log = async |numbers: std::ops::Range<u64>| {
        let lines =
            format!("return document.querySelectorAll('.log li').length === {}", numbers.end);
        scene.client.publish(MO, numbered(numbers)).await;
        browser.until("all lines", &lines).await;
    };
    let end_is_in_view = "const log = document.querySelector('.log').getBoundingClientRect();
        const end = [...document.querySelectorAll('.log li')].at(-1).getBoundingClientRect();
        return log.top <= end.top && end.bottom <= log.bottom";
    browser.open(&at(&router, "plugins/forward").await).await;
    for numbers in [0..30, 30..40] {
        log(numbers).await;
        assert_eq!(browser.run(end_is_in_view).await, true);
    }
    let is_in_order = "const times = [...document.querySelectorAll('.log time')].map((it) => Date.parse(it.dateTime));
        return times[0] < times.at(-1) && times.every((time, at) => at === 0 || times[at - 1] <= time)";
    assert_eq!(browser.run(is_in_order).await, true);

    // Whoever has scrolled up reads there.
    let first = "return document.querySelector('.log li').getBoundingClientRect().top
        - document.querySelector('.log').getBoundingClientRect().top";
    browser.run("document.querySelector('.log').scrollBy(0, -100_000)").await;
    let before = browser.run(first).await.as_f64().unwrap();
    assert!(before >= 0.0, "{before}");
    log(40..50).await;
    // In pixels, of which a browser may scroll a part.
    let after = browser.run(first).await.as_f64().unwrap();
    assert!((after - before).abs() < 2.0, "{before}, {after}");
}

#[tokio::test]
async fn each_event_of_the_tail_is_saved_once() {
    let scene = Scene::shared().await;
    let again = "config.answer = 'retry'\nconfig.attempts = 1\nconfig.only = '\"number\":1,'";
    let router = scene.run("", &[("one", ""), ("other", ""), ("again", again)]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "tail").await).await;
    browser.shows("All decisions since").await;
    let note = "x".repeat(300 << 10);
    let large = json!({"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "note": note});
    let large = Event::new("employee.it.create", large.to_string());
    // The second of them is sent twice.
    scene.client.publish(MO, numbered([1, 2, 2])).await;
    let rows = "return document.querySelectorAll('.decision').length";
    browser.until("all decisions", &format!("{rows} === 10")).await;
    browser
        .run("URL.createObjectURL = (file) => { window.file = file; return location.hash; }")
        .await;
    browser.press("Save as JSON Lines").await;
    browser.shows("3 events are saved, each once.").await;
    let text = browser.run("return file.text()").await;
    let lines =
        text.as_str().unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut numbers: Vec<_> = lines.map(|line| line["body"]["number"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [Some(1), Some(2), Some(2)]);

    // Of more than one decision on it there is no room for all, where the page is slow.
    browser.run("location.hash = '#/tail?plugin=one'").await;
    browser.until("the filter", &format!("{rows} === 0")).await;
    browser.shows("All decisions since").await;
    scene.client.publish(MO, [large]).await;
    browser.until("the decision on the large event", &format!("{rows} === 1")).await;
    browser.press("Save as JSON Lines").await;
    browser.shows("One decision is on an event that is too large to be here").await;
}

#[tokio::test]
async fn the_tail_says_all_only_while_it_is_told_all() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("one", "")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "overview").await).await;
    browser.shows("The last hour").await;
    let silent = "window.EventSource = class extends EventTarget {
            constructor() { super(); window.source = this; }
            close() {}
        };
        location.hash = '#/tail';";
    browser.run(silent).await;
    browser.shows("Not connected").await;
    browser.run("source.dispatchEvent(new Event('open'))").await;
    browser.shows("All decisions since").await;
    browser.run("source.dispatchEvent(new Event('error'))").await;
    browser.shows("Not connected").await;
}

#[tokio::test]
async fn fields_show_the_filter_that_holds() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("one", ""), ("other", "")]).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "tail").await).await;
    browser.shows("All decisions since").await;
    let fields = "return ['topic', 'plugin', 'outcome'].map((it) => document.querySelector(`form.search [name=${it}]`).value).join()";
    // Chosen and typed, but never asked for.
    browser.run("document.querySelector('select[name=plugin]').value = 'other'").await;
    browser.find("input[name=topic]").await.fill("employee.#").await;
    for (query, shown) in [
        ("outcome=dead", ",,dead"),
        ("plugin=one&topic=a.%23", "a.#,one,"),
        // It need not run.
        ("plugin=gone", ",gone,"),
        ("uuid=cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", ",,"),
    ] {
        browser.run(&format!("location.hash = '#/tail?{query}'")).await;
        browser.until(query, &format!("{fields} === '{shown}'")).await;
    }
    // Choices go with their names when there are more.
    browser.run("document.querySelector('select[name=plugin]').value = 'other'").await;
    router.add_plugin("another");
    browser
        .until(
            "one more",
            "return document.querySelectorAll('select[name=plugin] option').length === 4",
        )
        .await;
    browser.until("the choice", &format!("{fields} === ',other,'")).await;
}

#[tokio::test]
async fn a_file_may_be_dropped_anywhere_on_the_view() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "trial").await).await;
    browser.shows("What time it is").await;
    unlock(&browser).await;
    let drop = "const dropped = new DataTransfer();
        dropped.items.add(new File(['(component)'], 'dropped.wat'));
        const over = new DragEvent('dragover', {dataTransfer: dropped, bubbles: true, cancelable: true});
        const drop = new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true});
        return ['h1', 'footer'].map((it) => document.querySelector(it)).every((it) =>
            !it.dispatchEvent(over) && !it.dispatchEvent(drop))";
    assert_eq!(browser.run(drop).await, true, "the browser would open the file");
    browser.shows("dropped.wat").await;
}

#[tokio::test]
async fn a_page_that_may_keep_nothing_and_waits_for_its_session_is_shown() {
    let mut router = Router::new("", &[("forward", "")]);
    router.start_ready().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    let forbid = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('forbidden', 'SecurityError'); } });
        const ask = window.fetch;
        window.fetch = (path, ...rest) => path === '/api/session' ? new Promise(() => {}) : ask(path, ...rest);";
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": forbid })).await;
    browser.open(&at(&router, "overview").await).await;
    browser.shows("All is well").await;
    browser.run("const it = document.getElementById('language'); it.value = 'da'; it.dispatchEvent(new Event('change'))").await;
    browser.shows("Alt er vel").await;
}

#[tokio::test]
async fn old_rows_do_not_stand_under_a_new_bar() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    let store = format!("sqlite:{}", router.path("delays.db").display());
    fill(&store, 1500, |_| "onboarding").await;
    router.start_ready().await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    browser.open(&at(&router, "delayed").await).await;
    let rows = "return document.querySelectorAll('tbody tr').length";
    browser.until("rows", rows).await;
    hold(&browser, "/api/delayed?").await;
    browser.click(".bars:last-child button:not(:disabled)").await;
    browser.shows("Show all").await;
    assert_eq!(browser.run(rows).await, 0);
    held(&browser, 1).await;
    let_go(&browser, 0).await;
    browser.until("its rows", rows).await;
}

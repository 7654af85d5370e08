//! A headless Chromium, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>).
//!
//! Of the protocol, a dozen requests are needed. The crates that speak it bring a hundred more of
//! their own, or change how `serde_json` orders what it writes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use super::ports::free_port;
use super::{PATIENCE, ask_until, within_reason};

/// How long a browser may take to start. One that hangs then hangs for ever, so another is started.
const START: Duration = Duration::from_secs(90);

/// What a reference to an element is called.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. It ends with this value, or with the thread that started it.
pub struct Browser {
    driver: Child,
    session: String,
}

/// An element of the page.
pub struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Browser {
    /// Starts one whose window is so wide and so high.
    pub async fn start(width: u32, height: u32) -> Self {
        let size = format!("--window-size={width},{height}");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--lang=en",
            size.as_str(),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": PATIENCE.as_millis() as u64, "pageLoad": PATIENCE.as_millis() as u64},
        }}});
        let starting = async {
            loop {
                let started = Self::start_with(&capabilities);
                match tokio::time::timeout(START, started).await {
                    Ok(browser) => break browser,
                    Err(_) => println!("a browser that did not start in {START:?} is started anew"),
                }
            }
        };
        let browser = within_reason("a browser", starting).await;
        browser.resize(width, height).await;
        browser
            .devtools("Emulation.setTimezoneOverride", json!({"timezoneId": "Europe/Copenhagen"}))
            .await;
        browser
    }

    /// Starts a driver, and a browser in it; waits for both.
    async fn start_with(capabilities: &Value) -> Self {
        let port = free_port();
        // In a namespace of its own all of its processes end with the first.
        let driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--map-root-user", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "chromedriver"])
            .arg(format!("--port={port}"))
            .arg("--log-level=SEVERE")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs: deploy/dev/packages.sh chromium chromium-driver");
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, session: base.clone() };
        let session = ask_until("a session", || async {
            let answer = send("POST", format!("{base}/session"), Some(capabilities.clone())).await;
            answer.ok().and_then(|value| value["sessionId"].as_str().map(str::to_owned))
        })
        .await;
        browser.session = format!("{base}/session/{session}");
        browser
    }

    async fn ask(&self, method: &'static str, path: &str, body: Value) -> Value {
        let body = (method == "POST").then_some(body);
        let sent = send(method, format!("{}{path}", self.session), body).await;
        sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.ask("POST", "/url", json!({ "url": url })).await;
    }

    /// Goes on in another tab, or in another window, which is there beside those that are open.
    pub async fn go_on_in_new(&self, kind: &str) {
        let opened = self.ask("POST", "/window/new", json!({ "type": kind })).await;
        self.ask("POST", "/window", json!({ "handle": opened["handle"] })).await;
        self.devtools("Page.bringToFront", json!({})).await;
    }

    /// Has Chromium do something that only it knows.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// Gives the page, not a window around it, another size.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Dark mode, or not.
    pub async fn set_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([
            {"name": "prefers-color-scheme", "value": value},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Runs a script in the page, as the body of a function, and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Runs a script in the page that tells its result to its last argument.
    pub async fn run_async(&self, script: &str) -> Value {
        self.ask("POST", "/execute/async", json!({"script": script, "args": []})).await
    }

    /// Waits until a script returns something that is true, and gives that.
    pub async fn until(&self, what: &str, script: &str) -> Value {
        ask_until(what, || async {
            let value = self.run(script).await;
            let is_true = !matches!(value, Value::Null | Value::Bool(false))
                && value != json!("")
                && value != json!(0);
            is_true.then_some(value)
        })
        .await
    }

    /// Waits until the page shows a text.
    pub async fn shows(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        let shown = tokio::time::timeout(PATIENCE, self.until(text, &script)).await;
        if shown.is_err() {
            panic!("the page does not show {text:?}, but:\n{}", self.text().await);
        }
    }

    /// What the page shows.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits for the element that a CSS selector finds.
    pub async fn find(&self, selector: &str) -> Element<'_> {
        let script = format!("return document.querySelector({})", json!(selector));
        let found = self.until(selector, &script).await;
        let id = found[ELEMENT].as_str().expect("an element").to_owned();
        Element { browser: self, id }
    }

    /// Waits for the element that a CSS selector finds, and clicks it: at once, before the page is
    /// drawn anew.
    pub async fn click(&self, selector: &str) {
        let selected = json!(selector);
        let script = format!(
            "const found = document.querySelector({selected}); found?.click(); return found !== null"
        );
        self.until(selector, &script).await;
    }

    /// Moves the pointer to the middle of the element that a CSS selector finds.
    pub async fn point_at(&self, selector: &str) {
        let script = format!(
            "const found = document.querySelector({})?.getBoundingClientRect();
             return found && {{type: 'mouseMoved', x: found.x + found.width / 2, y: found.y + found.height / 2}}",
            json!(selector)
        );
        let place = self.until(selector, &script).await;
        self.devtools("Input.dispatchMouseEvent", place).await;
    }

    /// Waits for the button with this text, where there is one that can be pressed, and presses it.
    pub async fn press(&self, text: &str) {
        let script = format!(
            "const within = document.querySelector('dialog') ?? document;
             const found = [...within.querySelectorAll('button, a.button')]
                 .find((it) => it.textContent.trim() === {} && !it.disabled);
             found?.click();
             return found !== undefined",
            json!(text)
        );
        self.until(text, &script).await;
    }

    /// Whether there is a button with this text.
    pub async fn has_button(&self, text: &str) -> bool {
        let script = format!(
            "return [...document.querySelectorAll('button')].some((it) => it.textContent.trim() === {})",
            json!(text)
        );
        self.run(&script).await == true
    }

    /// What the page can be seen of, as a PNG.
    pub async fn picture(&self, file: &Path) {
        let picture = self.ask("GET", "/screenshot", Value::Null).await;
        let picture = BASE64_STANDARD.decode(picture.as_str().expect("a picture")).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    /// What the browser complains of: errors of scripts, and what the page's policy forbids.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().cloned().unwrap_or_default();
        let messages = entries.iter().map(|entry| entry["message"].to_string());
        // What the router refuses is no fault of the page.
        messages.filter(|message| !message.contains("Failed to load resource")).collect()
    }
}

impl Element<'_> {
    /// Types a text into it, in place of what is there.
    pub async fn fill(&self, text: &str) {
        let path = format!("/element/{}", self.id);
        self.browser.ask("POST", &format!("{path}/clear"), json!({})).await;
        self.browser.ask("POST", &format!("{path}/value"), json!({ "text": text })).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

async fn send(method: &'static str, url: String, body: Option<Value>) -> Result<Value, String> {
    let sent = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE + Duration::from_secs(10)))
            .http_status_as_error(false)
            .build()
            .into();
        let answer = match (method, body) {
            ("POST", body) => agent.post(&url).send_json(body.unwrap_or_else(|| json!({}))),
            _ => agent.get(&url).call(),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let is_ok = answer.status().is_success();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string();
        let text = text.map_err(|error| error.to_string())?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        match is_ok {
            true => Ok(value["value"].clone()),
            false => Err(value["value"].to_string()),
        }
    });
    within_reason("the browser", sent).await.unwrap()
}

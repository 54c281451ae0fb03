//! A real browser, driven from outside: headless Chromium behind chromedriver, spoken to in
//! plain WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use tempfile::TempDir;

use crate::harness::{Value, json, text};

/// How long anything on a page may take to show.
const SOON: Duration = Duration::from_secs(15);

/// What an element is called in WebDriver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of one size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// For the names of screenshots.
    pub name: &'static str,
    width: u32,
    height: u32,
    is_phone: bool,
}

/// A small phone.
pub const NARROW: Size = Size { name: "narrow", width: 360, height: 740, is_phone: true };
/// A laptop.
pub const WIDE: Size = Size { name: "wide", width: 1280, height: 900, is_phone: false };

/// A browser with one window and a profile of its own.
pub struct Browser {
    http: reqwest::blocking::Client,
    session: String,
    size: Size,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts one. `dark`: the system asks for dark colours.
    pub fn start(size: Size, dark: bool) -> Self {
        let (driver, base) = start_driver();
        let profile = tempfile::tempdir().expect("make a temporary directory");
        let http = reqwest::blocking::Client::builder()
            .timeout(Duration::from_secs(60))
            .no_proxy()
            .build()
            .expect("an HTTP client");
        let mut browser = Self { http, session: base.clone(), size, driver, _profile: profile };
        let options = options(size, dark, browser._profile.path());
        let made =
            browser.call("POST", "/session", json!({"capabilities": {"alwaysMatch": options}}));
        browser.session = format!("{base}/session/{}", text(&made["sessionId"]));
        browser
    }

    /// Opens an address.
    pub fn go(&self, url: &str) {
        self.call("POST", "/url", json!({"url": url}));
    }

    /// Waits for the first element of a CSS selector that is shown.
    #[track_caller]
    pub fn find(&self, selector: &str) -> String {
        self.until(selector, || {
            let found = self.call_quietly(
                "POST",
                "/element",
                json!({"using": "css selector", "value": selector}),
            )?;
            let id = text(&found[ELEMENT]);
            let shown =
                self.call_quietly("GET", &format!("/element/{id}/displayed"), Value::Null)?;
            (shown == true).then_some(id)
        })
    }

    /// Clicks as a person does: into the middle of what is shown there.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.until(&format!("click on {selector}"), || {
            let id = self.find(selector);
            self.call_quietly("POST", &format!("/element/{id}/click"), json!({}))
        });
    }

    /// Types into an element, after what is there.
    #[track_caller]
    pub fn type_into(&self, selector: &str, typed: &str) {
        let id = self.find(selector);
        self.call("POST", &format!("/element/{id}/value"), json!({"text": typed}));
    }

    /// Chooses a file in an input that need not be shown itself.
    #[track_caller]
    pub fn choose_file(&self, selector: &str, file: &Path) {
        let found =
            self.call("POST", "/element", json!({"using": "css selector", "value": selector}));
        let id = text(&found[ELEMENT]);
        self.call("POST", &format!("/element/{id}/value"), json!({"text": file.to_string_lossy()}));
    }

    /// Presses keys, wherever the focus is. `\u{E004}` is Tab, `\u{E007}` Enter.
    pub fn press(&self, keys: &str) {
        let steps: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        self.act(json!({"type": "key", "id": "keys", "actions": steps}));
    }

    /// Drags one finger from a point of the window, over `by` pixels downwards.
    pub fn drag_down(&self, x: i32, y: i32, by: i32) {
        let to = |y: i32, duration: u32| json!({"type": "pointerMove", "x": x, "y": y, "duration": duration});
        let mut steps = vec![to(y, 0), json!({"type": "pointerDown", "button": 0})];
        steps.extend((1..=10).map(|part| to(y + by * part / 10, 30)));
        steps.push(json!({"type": "pointerUp", "button": 0}));
        let finger = json!({"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}, "actions": steps});
        self.act(finger);
    }

    /// The value of a JavaScript expression.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.call("POST", "/execute/sync", json!({"script": script, "args": []}))
    }

    /// Waits until a JavaScript expression is true. While something that it names is not there
    /// yet, it is not.
    #[track_caller]
    pub fn wait_for(&self, expression: &str) {
        let script = format!("try {{ return ({expression}); }} catch {{ return false; }}");
        let body = json!({"script": script, "args": []});
        self.until(expression, || {
            let value = self.call("POST", "/execute/sync", body.clone());
            (value == true).then_some(())
        });
    }

    /// Answers the question that the page asks.
    pub fn accept(&self) {
        self.call("POST", "/alert/accept", json!({}));
    }

    /// Saves what the window shows under `target/browser/`.
    pub fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/browser");
        std::fs::create_dir_all(&folder).expect("make target/browser");
        let shot = text(&self.call("GET", "/screenshot", Value::Null));
        let png = base64::engine::general_purpose::STANDARD.decode(shot).expect("base64");
        let file = folder.join(format!("{name}-{}.png", self.size.name));
        std::fs::write(file, png).expect("write the screenshot");
    }

    /// What the console has complained of since the last call: exceptions, requests that were
    /// refused, violations of the content security policy.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", json!({"type": "browser"}));
        let entries = log.as_array().expect("a list of log entries").iter();
        let bad = entries.filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
        bad.map(|entry| text(&entry["message"])).collect()
    }

    /// Buttons, links and fields that a screen reader has no name for.
    pub fn nameless(&self) -> Vec<String> {
        let command = json!({"cmd": "Accessibility.getFullAXTree", "params": {}});
        let tree = self.call("POST", "/goog/cdp/execute", command);
        let nodes = tree["nodes"].as_array().expect("nodes").iter();
        let needs_name = |node: &&Value| {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            ["button", "link", "textbox", "searchbox", "image", "article"].contains(&role)
                && node["ignored"] != true
                && node["name"]["value"].as_str().unwrap_or_default().trim().is_empty()
        };
        let described =
            |node: &Value| format!("{} {}", node["role"]["value"], node["name"]["sources"]);
        nodes.filter(needs_name).map(described).take(3).collect()
    }

    fn act(&self, source: Value) {
        self.call("POST", "/actions", json!({"actions": [source]}));
        self.call("DELETE", "/actions", Value::Null);
    }

    #[track_caller]
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let asked = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if asked.elapsed() > SOON {
                self.picture("failed");
                panic!("{what}: not within {SOON:?}; console: {:?}", self.complaints());
            }
            thread::sleep(Duration::from_millis(30));
        }
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        self.send(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn call_quietly(&self, method: &str, path: &str, body: Value) -> Option<Value> {
        self.send(method, path, body).ok()
    }

    fn send(&self, method: &str, path: &str, body: Value) -> Result<Value, Value> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if !body.is_null() {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().expect("an answer from chromedriver");
        let is_good = answer.status().is_success();
        let bytes = answer.bytes().expect("the answer's body");
        let mut body: Value = serde_json::from_slice(&bytes).expect("JSON from chromedriver");
        if is_good { Ok(body["value"].take()) } else { Err(body["value"].take()) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session ends the browser; the driver goes last.
        let _ = self.http.delete(&self.session).send();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn options(size: Size, dark: bool, profile: &Path) -> Value {
    let window = format!("--window-size={},{}", size.width, size.height);
    let profile = format!("--user-data-dir={}", profile.display());
    let mut arguments = vec![
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        &window,
        &profile,
    ];
    if dark {
        arguments.push("--force-dark-mode");
    }
    let mut chrome = json!({"args": arguments});
    if size.is_phone {
        let metrics = json!({"width": size.width, "height": size.height, "pixelRatio": 2, "touch": true, "mobile": true});
        chrome["mobileEmulation"] = json!({"deviceMetrics": metrics});
    }
    json!({
        "browserName": "chrome",
        "goog:chromeOptions": chrome,
        "goog:loggingPrefs": {"browser": "ALL"},
    })
}

fn start_driver() -> (Child, String) {
    let mut driver = Command::new("chromedriver")
        .args(["--port=0", "--log-level=WARNING"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start chromedriver; scripts/browser-test installs it");
    let lines = BufReader::new(driver.stdout.take().expect("piped stdout")).lines();
    let (send, port) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let _ = send.send(port.trim_end_matches('.').to_owned());
            }
        }
    });
    let port = port.recv_timeout(SOON).expect("chromedriver tells its port");
    (driver, format!("http://127.0.0.1:{port}"))
}

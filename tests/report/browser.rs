//! Chromium, through its DevTools protocol.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// One page, open in a browser without a window.
pub struct Browser {
    chromium: Child,
    /// Pipes that carry messages, each followed by a zero byte.
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    sent: u64,
    /// Uncaught exceptions and errors on the console.
    problems: Vec<String>,
    _profile: TempDir,
    /// One browser at a time: several would compete for the processor and reach their time limits.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Browser {
    /// Opens a page and waits until its script has set it up. Returns `None`, and says so, if there is
    /// no Chromium.
    pub fn open(page: &str) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(|turn| turn.into_inner());
        let profile = tempfile::tempdir().unwrap();
        let file = profile.path().join("page.html");
        std::fs::write(&file, page).unwrap();
        let is_there = |name: &&&str| {
            let mut version = Command::new(name);
            version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        };
        let Some(name) = NAMES.iter().find(is_there).filter(|_| cfg!(unix)) else {
            eprintln!("skipped: Chromium is not installed");
            return None;
        };
        let [to, from] = ["to", "from"].map(|pipe| profile.path().join(pipe));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        // Chromium reads messages from descriptor 3 and writes them to descriptor 4.
        let chromium = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<to 4>from", "sh", name])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args(["--remote-debugging-pipe", "--window-size=1100,900", "--user-data-dir=."])
            .current_dir(profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the order in which the shell opens the other ends.
        let to = OpenOptions::new().write(true).open(to).unwrap();
        let from = BufReader::new(File::open(from).unwrap());
        let problems = Vec::new();
        let mut browser = Self {
            chromium,
            to,
            from,
            session: None,
            sent: 0,
            problems,
            _profile: profile,
            _turn: turn,
        };
        let target = browser.send("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.send(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = Some(attached["sessionId"].as_str().unwrap().into());
        for domain in ["Page", "Runtime", "Log"] {
            browser.send(&format!("{domain}.enable"), json!({}));
        }
        browser.send("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        browser.evaluate(
            "new Promise((done) => (document.readyState === 'complete' ? done() \
             : addEventListener('load', done)))",
        );
        browser.evaluate("burnVae.then(() => null)");
        browser.await_frames();
        Some(browser)
    }

    /// Sends a command and returns its result.
    pub fn send(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut command = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut message = Vec::new();
            let read = self.from.read_until(0, &mut message).unwrap();
            assert!(read > 0, "Chromium has ended");
            message.pop();
            let answer = serde_json::from_slice::<Value>(&message).unwrap();
            if answer["id"] == json!(self.sent) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            let is_error = answer["params"]["entry"]["level"] == "error";
            if answer["method"] == "Runtime.exceptionThrown" || is_error {
                self.problems.push(answer["params"].to_string());
            }
        }
    }

    /// Evaluates an expression in the page; waits for a promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let result = self.send(
            "Runtime.evaluate",
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }),
        );
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Evaluates an expression that yields a list of numbers.
    pub fn numbers(&mut self, expression: &str) -> Vec<f64> {
        let value = self.evaluate(expression);
        let list = value.as_array().unwrap_or_else(|| panic!("{expression}: {value}"));
        list.iter().map(|number| number.as_f64().unwrap()).collect()
    }

    /// Evaluates an expression that yields a text.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).into()
    }

    /// Scrolls to an element and returns the position of a point of it, given by the fractions of its
    /// width and height.
    pub fn point(&mut self, id: &str, [across, down]: [f64; 2]) -> [f64; 2] {
        let place = self.numbers(&format!(
            "(() => {{ const e = document.getElementById('{id}'); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"
        ));
        [place[0] + across * place[2], place[1] + down * place[3]]
    }

    /// Moves the mouse, presses it or releases it.
    pub fn mouse(&mut self, kind: &str, [x, y]: [f64; 2], is_held: bool) {
        let buttons = u8::from(is_held);
        let button = if is_held || kind == "mouseReleased" { "left" } else { "none" };
        let clicks = u8::from(kind != "mouseMoved");
        self.send(
            "Input.dispatchMouseEvent",
            json!({
                "type": kind, "x": x, "y": y, "button": button, "buttons": buttons,
                "clickCount": clicks,
            }),
        );
        self.await_frames();
    }

    /// Waits until the page is drawn: before its first frame Chromium does not know what lies below the
    /// pointer, and the page answers a pointer that moves in the next frame.
    fn await_frames(&mut self) {
        let frames = "requestAnimationFrame(() => requestAnimationFrame(done))";
        self.evaluate(&format!("new Promise((done) => {frames}).then(() => null)"));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.send("Input.dispatchKeyEvent", json!({ "type": kind, "key": key }));
        }
    }

    /// Saves what is in view, for a developer to look at, if `BURN_VAE_SCREENSHOTS` names a folder.
    pub fn screenshot(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("BURN_VAE_SCREENSHOTS") else { return };
        let picture = self.send("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let decoded = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&dir).join(format!("{name}.png")), decoded).unwrap();
    }

    /// Closes the browser.
    ///
    /// # Panics
    /// If the page has thrown an exception or reported an error.
    pub fn close(mut self) {
        self.evaluate("null");
        assert!(self.problems.is_empty(), "{:?}", self.problems);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.chromium.kill().ok();
        self.chromium.wait().ok();
    }
}

//! A browser without a window, told what to do by WebDriver (W3C, webdriver2).

use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::{client, soon};
use crate::programs::{free_port, program};

const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Chromium with one page; it ends with the test.
pub(crate) struct Browser {
    session: String,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, if this machine has it.
    pub(crate) async fn start() -> Option<Self> {
        let (driver, _) = (program("chromedriver")?, program("chromium")?);
        let profile = TempDir::new().expect("a directory for this test");
        let port = free_port();
        let mut command = Command::new(driver);
        command
            .arg(format!("--port={port}"))
            .env("HOME", profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The browser is of its group too, and so ends with it.
            .process_group(0)
            .kill_on_drop(true);
        let driver = command.spawn().expect("it starts");
        let url = format!("http://127.0.0.1:{port}");
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<&str> = [profile_argument.as_str()]
            .into_iter()
            .chain(ARGUMENTS)
            .collect();
        let capabilities = json!({ "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }});
        soon(async {
            while client().get(format!("{url}/status")).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let session = post(
            &format!("{url}/session"),
            &json!({ "capabilities": capabilities }),
        )
        .await;
        let id = session["sessionId"].as_str().expect("a session");
        Some(Self {
            session: format!("{url}/session/{id}"),
            driver,
            _profile: profile,
        })
    }

    /// Loads a page.
    pub(crate) async fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url })).await;
    }

    /// Looks as one who prefers `scheme`, `light` or `dark`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let command = json!({
            "cmd": "Emulation.setEmulatedMedia",
            "params": { "features": [feature] },
        });
        self.command("goog/cdp/execute", &command).await;
    }

    /// What an expression of JavaScript is, in the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return {expression}"), "args": [] });
        self.command("execute/sync", &script).await
    }

    /// The text of the element with this id.
    pub(crate) async fn text(&self, id: &str) -> String {
        let expression = format!("document.getElementById('{id}').textContent");
        let text = self.value(&expression).await;
        text.as_str().expect("text").to_owned()
    }

    /// Waits until that text fulfils `condition`, and gives it.
    pub(crate) async fn text_when(&self, id: &str, condition: impl Fn(&str) -> bool) -> String {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let text = self.text(id).await;
                if condition(&text) {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        match waited.await {
            Ok(text) => text,
            Err(_) => panic!("{id} says {:?}", self.text(id).await),
        }
    }

    /// Presses keys, in the element with the focus.
    pub(crate) async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", &json!({ "actions": [keyboard] }))
            .await;
    }

    /// What the browser complained of: refused styles and scripts, errors of the script.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({ "type": "browser" })).await;
        let lines = log.as_array().expect("a list").iter();
        lines.map(|line| line["message"].to_string()).collect()
    }

    fn command(&self, name: &str, body: &Value) -> impl Future<Output = Value> {
        let url = format!("{}/{name}", self.session);
        let body = body.clone();
        async move { post(&url, &body).await }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = self
            .driver
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = group {
            // What has ended by itself needs no end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn post(url: &str, body: &Value) -> Value {
    let request = client()
        .post(url)
        .header("content-type", "application/json");
    let response = soon(request.body(body.to_string()).send())
        .await
        .expect("a driver");
    let status = response.status();
    let text = response.text().await.expect("a whole body");
    assert!(status.is_success(), "{url}: {text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["value"].clone()
}

//! SIGHUP: a new configuration for new requests, all of it or nothing.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{Answer, Upstream, client, config_text, route, soon, until};
use crate::programs::{Running, gatherd};
use crate::raw_upstreams::{Identity, Raw};

/// A service whose config file is rewritten while it runs.
struct Rewritten {
    directory: TempDir,
    running: Running,
    url: String,
    admin: String,
}

impl Rewritten {
    async fn start(server: &str, rest: &str) -> Self {
        let directory = TempDir::new().expect("a directory for this test");
        Self::within(directory, server, rest).await
    }

    async fn within(directory: TempDir, server: &str, rest: &str) -> Self {
        write(directory.path(), server, rest);
        let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
        let url = format!("https://{}", running.address("listening for HTTPS").await);
        let admin = format!(
            "http://{}",
            running.address("listening for operators").await
        );
        Self {
            directory,
            running,
            url,
            admin,
        }
    }

    /// Gives it another file, and the line that says what came of it.
    async fn reload(&mut self, server: &str, rest: &str) -> String {
        write(self.directory.path(), server, rest);
        self.running.signal(Signal::HUP);
        self.running.line("reloaded").await
    }

    async fn get(&self, path: &str) -> Answer {
        let answer = client().get(format!("{}{path}", self.url)).send();
        Answer::of(soon(answer).await.expect("an answer")).await
    }

    async fn metric(&self, name: &str) -> String {
        let answer = client().get(format!("{}/metrics", self.admin)).send();
        let text = Answer::of(soon(answer).await.expect("metrics")).await.body;
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit_once(' '));
        value
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .1
            .to_owned()
    }

    /// Whether the last reload was applied, as the metrics say.
    async fn is_applied(&self) -> bool {
        self.metric("gatherd_config_last_reload_successful").await == "1"
    }

    async fn ends(self) {
        self.running.terminate();
        assert_eq!(self.running.ended().await, Some(0));
    }
}

fn write(directory: &Path, server: &str, rest: &str) {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"";
    let text = config_text(server, rest).replace("[admin]\nenabled = false", admin);
    fs::write(directory.join("config.toml"), text).expect("a file");
}

const FREE: &str = "[rate_limit]\nenabled = false\n";

#[tokio::test]
async fn new_requests_go_by_the_new_file_and_what_runs_by_the_old_one() {
    let upstream = Upstream::with("1", std::time::Duration::from_secs(2));
    let routes = |calls| {
        let work = upstream.section("work", "/");
        format!(
            "{FREE}{work}{}",
            route("/a", "all", "work", &format!("calls = {calls}"))
        )
    };
    let mut service = Rewritten::start("", &routes(2)).await;
    let running = tokio::spawn(client().get(format!("{}/a", service.url)).send());
    until(|| upstream.counters.requests_open() == 2).await;
    let line = service.reload("", &routes(3)).await;
    assert!(line.contains(r#"routes[\"/a\"].calls"#), "{line}");
    assert_eq!(service.get("/a").await.body, "[1,1,1]");
    let old = soon(running).await.expect("no panic").expect("an answer");
    assert_eq!(Answer::of(old).await.body, "[1,1]");
    assert!(service.is_applied().await);
    service.ends().await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told_of() {
    let upstream = Upstream::start();
    let good = format!(
        "{FREE}{}{}",
        upstream.section("work", "/"),
        route("/a", "all", "work", "calls = 2")
    );
    let mut service = Rewritten::start("", &good).await;
    // One half of it could be used; none of it may be.
    let bad = good.replace("calls = 2", "calls = 65").replace("/a", "/b");
    let line = service.reload("", &bad).await;
    assert!(line.contains("not reloaded"), "{line}");
    let why = service.running.line("why not").await;
    assert!(why.contains("routes[0].calls"), "{why}");
    assert!(!service.is_applied().await);
    assert_eq!(service.get("/a").await.status, 200);
    assert_eq!(service.get("/b").await.status, 404);
    fs::remove_file(service.directory.path().join("config.toml")).expect("a file");
    service.running.signal(Signal::HUP);
    service.running.line("not reloaded").await;
    assert_eq!(service.get("/a").await.status, 200);
    let line = service.reload("", &good.replace("/a", "/b")).await;
    assert!(line.contains("\"reloaded\""), "{line}");
    assert_eq!(service.get("/b").await.status, 200);
    assert!(service.is_applied().await);
    service.ends().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_left_as_it_was() {
    let upstream = Upstream::start();
    let rest = |level: &str| {
        format!(
            "{FREE}[log]\nlevel = \"{level}\"\n{}{}",
            upstream.section("work", "/"),
            route("/a", "all", "work", "calls = 2")
        )
    };
    let mut service = Rewritten::start("worker_threads = 1", &rest("info")).await;
    let server = "worker_threads = 2\nmax_in_flight = 7";
    let line = service.reload(server, &rest("warn")).await;
    assert!(
        line.contains("server.max_in_flight") && !line.contains("threads"),
        "{line}"
    );
    let left = service.running.line("only after a restart").await;
    assert!(left.contains("log.level, server.worker_threads"), "{left}");
    assert_eq!(service.get("/a").await.status, 200);
    service.ends().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_told_by_what_runs_and_not_by_the_file_before() {
    let rest = |level: &str| format!("{FREE}[log]\nlevel = \"{level}\"\n");
    let mut service = Rewritten::start("worker_threads = 1", &rest("info")).await;
    for server in [
        "worker_threads = 2",
        "worker_threads = 2\nmax_in_flight = 7",
    ] {
        service.reload(server, &rest("info")).await;
        let left = service.running.line("only after a restart").await;
        assert!(
            left.contains("\"server.worker_threads\""),
            "{server}: {left}"
        );
    }
    // As it runs again: nothing is left, and what is left of the next is something else.
    service.reload("worker_threads = 1", &rest("info")).await;
    service.reload("worker_threads = 1", &rest("warn")).await;
    let left = service.running.line("only after a restart").await;
    assert!(left.contains("\"log.level\""), "{left}");
    service.ends().await;
}

#[tokio::test]
async fn authorities_that_changed_on_disk_hold_and_are_named_and_broken_ones_change_nothing() {
    let upstream = Upstream::start();
    let identity = Identity::of("localhost", |_| {});
    let (right, wrong) = (identity.pem(), Identity::of("localhost", |_| {}).pem());
    let server = Raw::tls(&identity, &["http/1.1"], upstream.addr).await;
    let rest = format!(
        "{FREE}[upstreams.work]\nurl = \"https://localhost:{}/\"\nca = \"ca.pem\"\n{}",
        server.addr.port(),
        route("/a", "all", "work", "calls = 1")
    );
    let directory = TempDir::new().expect("a directory for this test");
    fs::write(directory.path().join("ca.pem"), &wrong).expect("a file");
    let mut service = Rewritten::within(directory, "", &rest).await;
    assert_eq!(service.get("/a").await.kinds(), ["tls"]);
    let line = service.running.line("a call failed").await;
    assert!(line.contains("invalid peer certificate"), "{line}");
    let ca = service.directory.path().join("ca.pem");
    fs::write(&ca, format!("{wrong}{right}")).expect("a file");
    let line = service.reload("", &rest).await;
    assert!(line.contains("\"upstreams.work.ca\""), "{line}");
    assert_eq!(service.get("/a").await.status, 200);
    fs::write(&ca, "broken").expect("a file");
    let line = service.reload("", &rest).await;
    assert!(line.contains("not reloaded"), "{line}");
    let why = service.running.line("why not").await;
    assert!(
        why.contains("upstreams.work.ca") && why.contains("ca.pem"),
        "{why}"
    );
    assert_eq!(service.get("/a").await.status, 200);
    service.ends().await;
}

#[tokio::test]
async fn limits_and_times_of_connections_change_with_the_file() {
    let routes = |_: ()| format!("{FREE}[access]\ndeny = []\n");
    let mut service = Rewritten::start("", &routes(())).await;
    assert_eq!(service.get("/").await.status, 404);
    let denied = format!("{FREE}[access]\ndeny = [\"127.0.0.0/8\"]\n");
    service.reload("", &denied).await;
    assert!(client().get(&service.url).send().await.is_err(), "refused");
    service
        .reload("handshake_timeout = \"200ms\"", &routes(()))
        .await;
    let address = service.url.trim_start_matches("https://").to_owned();
    let mut silent = tokio::net::TcpStream::connect(address)
        .await
        .expect("it listens");
    assert!(crate::edge_client::is_closed(&mut silent).await);
    service.ends().await;
}

#[tokio::test]
async fn secrets_and_authorities_are_read_again() {
    let upstream = Upstream::start();
    let rest = format!(
        "{FREE}{}headers = {{ x-token = {{ file = \"token\" }} }}\n{}",
        upstream.section("work", "/"),
        route("/a", "all", "work", "calls = 2")
    );
    let directory = TempDir::new().expect("credentials");
    let token = directory.path().join("token");
    fs::write(&token, "hush").expect("a file");
    let config = TempDir::new().expect("a directory for this test");
    write(config.path(), "", &rest);
    let mut command: Command = gatherd::<&str>(config.path(), &[]);
    command.env("CREDENTIALS_DIRECTORY", directory.path());
    let mut running = Running::start(command);
    running.address("listening for HTTPS").await;
    fs::write(&token, "hush hush").expect("a file");
    running.signal(Signal::HUP);
    let line = running.line("reloaded").await;
    assert!(
        line.contains("upstreams.work.headers") && !line.contains("hush"),
        "{line}"
    );
    fs::remove_file(&token).expect("a file");
    running.signal(Signal::HUP);
    running.line("not reloaded").await;
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn signals_at_any_time_and_in_any_number_are_harmless() {
    let upstream = Upstream::with("1", std::time::Duration::from_millis(1500));
    let rest = format!(
        "{FREE}{}{}",
        upstream.section("work", "/"),
        route("/a", "all", "work", "calls = 2")
    );
    for early in [Signal::HUP, Signal::USR1, Signal::USR2] {
        let directory = TempDir::new().expect("a directory for this test");
        write(directory.path(), "", &rest);
        let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
        running.handles(early).await;
        // Most of these come before it listens.
        (0..20).for_each(|_| running.signal(early));
        let address = running.address("listening for HTTPS").await;
        for _ in 0..1000 {
            for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
                running.signal(signal);
            }
        }
        let request = tokio::spawn(client().get(format!("https://{address}/a")).send());
        until(|| upstream.counters.requests_open() == 2).await;
        running.terminate();
        running.line("stopping").await;
        (0..100).for_each(|_| running.signal(Signal::HUP));
        let answer = soon(request).await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(running.ended().await, Some(0));
    }
}

/// More problems than a place in the code has lines a second for what strangers cause.
#[tokio::test]
async fn every_problem_of_a_bad_file_is_told() {
    const MANY: usize = 30;
    let upstream = Upstream::start();
    let good = upstream.section("work", "/") + &route("/a", "all", "work", "");
    let mut service = Rewritten::start("", &good).await;
    let wrong = |number| route(&format!("/{number}"), "all", "nowhere", "");
    let bad: String = (0..MANY).map(wrong).collect();
    let line = service.reload("", &(good + &bad)).await;
    assert!(line.contains("not reloaded"), "{line}");
    for _ in 0..MANY {
        let why = service.running.line("").await;
        assert!(why.contains("why not"), "{why}");
    }
}

//! The program as it is started: the demonstration, signals, the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Version;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::harness::{Answer, Upstream, client, config_text, http1_and_http2, route, soon, until};
use crate::programs::{Running, Said, free_port, gatherd, program};

/// The shipped `config.toml` on ports of our own: the mock's is fixed, since the upstream names it.
fn demonstration() -> String {
    let shipped = fs::read_to_string("config.toml").expect("the shipped config.toml");
    let mock = free_port();
    let replaced = [
        (":8443\"", ":0\"".to_owned()),
        (
            "# listen = \"127.0.0.1:9180\"",
            "listen = \"127.0.0.1:0\"".to_owned(),
        ),
        (
            "# listen = \"127.0.0.1:1234\"",
            format!("listen = \"127.0.0.1:{mock}\""),
        ),
        (
            "url = \"http://127.0.0.1:1234/\"",
            format!("url = \"http://127.0.0.1:{mock}/\""),
        ),
    ];
    replaced.iter().fold(shipped, |text, (from, to)| {
        assert!(text.contains(from), "config.toml says {from}");
        text.replace(from, to)
    })
}

/// A service in a process of its own, with its first HTTPS address.
async fn serve(directory: &Path) -> (Running, String) {
    let mut running = Running::start(gatherd::<&str>(directory, &[]));
    let address = running.address("listening for HTTPS").await;
    (running, format!("https://{address}"))
}

#[tokio::test]
async fn memory_comes_in_small_pages() {
    let directory = TempDir::new().expect("a directory for this test");
    fs::write(directory.path().join("config.toml"), demonstration()).expect("a file");
    let (running, _) = serve(directory.path()).await;
    assert_eq!(running.status("THP_enabled"), "0");
}

async fn get(client: &reqwest::Client, url: &str) -> Answer {
    Answer::of(soon(client.get(url).send()).await.expect("an answer")).await
}

#[tokio::test]
async fn the_demonstration_answers_in_an_empty_directory_with_no_set_up() {
    let directory = TempDir::new().expect("a directory for this test");
    fs::write(directory.path().join("config.toml"), demonstration()).expect("a file");
    let (mut running, url) = serve(directory.path()).await;
    let hint = running.line("curl -k https://localhost:").await;
    assert!(hint.contains("/api/all"), "{hint}");
    let versions = [Version::HTTP_11, Version::HTTP_2];
    for (client, version) in http1_and_http2().iter().zip(versions) {
        let all = get(client, &format!("{url}/api/all")).await;
        assert_eq!((all.status, all.version), (200, version));
        assert_eq!(all.body, r#"[{"time":250},{"time":250}]"#);
        assert_eq!(all.header("content-type"), "application/json");
        let first = get(client, &format!("{url}/api/first")).await;
        assert_eq!((first.status, first.version), (200, version));
        assert_eq!(first.body, r#"{"time":250}"#);
    }
    let key = directory.path().join("certs/key.pem");
    let mode = fs::metadata(&key).expect("a key").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let pair = |name: &str| fs::read(directory.path().join("certs").join(name)).expect("a file");
    let before = [pair("cert.pem"), pair("key.pem")];
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
    // A second start takes what is there.
    let (running, url) = serve(directory.path()).await;
    assert_eq!(
        get(&client(), &format!("{url}/api/first")).await.status,
        200
    );
    assert_eq!([pair("cert.pem"), pair("key.pem")], before);
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn the_curl_line_that_the_demonstration_gives_works_and_its_certificate_is_for_localhost() {
    let Some(curl) = program("curl") else { return };
    let directory = TempDir::new().expect("a directory for this test");
    fs::write(directory.path().join("config.toml"), demonstration()).expect("a file");
    let (mut running, _) = serve(directory.path()).await;
    let line = running.line("try: curl").await;
    let (_, line) = line.split_once("try: curl ").expect("a curl line");
    let line = line.split('"').next().unwrap_or(line);
    let arguments: Vec<&str> = line.split(' ').collect();
    let url = *arguments.last().expect("a URL");
    let ca = ["--cacert", "certs/cert.pem", url];
    for arguments in [arguments.as_slice(), ca.as_slice()] {
        for protocol in ["--http1.1", "--http2"] {
            let mut command = Command::new(&curl);
            let quiet = ["--silent", "--show-error", "--noproxy", "*", protocol];
            command
                .args(quiet)
                .args(arguments)
                .current_dir(directory.path());
            let said = Said::of(command).await;
            assert_eq!(
                said.out, r#"[{"time":250},{"time":250}]"#,
                "{arguments:?}: {said:?}"
            );
        }
    }
}

/// A config file in a new directory whose one route `/slow` asks that path of `upstream`.
fn one_route(upstream: &Upstream, path: &str, server: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory for this test");
    let rest = [
        "[rate_limit]\nenabled = false\n".to_owned(),
        upstream.section("work", path),
        route("/slow", "all", "work", "calls = 2"),
    ];
    let text = config_text(server, &rest.concat());
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    directory
}

#[tokio::test]
async fn sigterm_loses_no_request_that_runs() {
    for threads in ["worker_threads = 1", "worker_threads = 2"] {
        let upstream = Upstream::with(r#"{"time":250}"#, Duration::from_secs(1));
        let directory = one_route(&upstream, "/", threads);
        let (mut running, url) = serve(directory.path()).await;
        let mut requests = JoinSet::new();
        for client in http1_and_http2() {
            for _ in 0..10 {
                let (client, url) = (client.clone(), format!("{url}/slow"));
                requests.spawn(async move { get(&client, &url).await });
            }
        }
        until(|| upstream.counters.requests_open() == 40).await;
        running.terminate();
        running.line("stopping").await;
        for answer in requests.join_all().await {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.body, r#"[{"time":250},{"time":250}]"#);
        }
        assert_eq!(running.ended().await, Some(0));
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let upstream = Upstream::start();
    let directory = one_route(&upstream, "/", "drain_timeout = \"60s\"");
    let (running, url) = serve(directory.path()).await;
    let clients = http1_and_http2();
    for client in &clients {
        assert_eq!(get(client, &format!("{url}/slow")).await.status, 200);
    }
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_stop_takes_no_longer_than_drain_timeout() {
    let upstream = Upstream::start();
    let directory = one_route(&upstream, "/fault/hang/start", "drain_timeout = \"1s\"");
    let (running, url) = serve(directory.path()).await;
    let request = tokio::spawn(client().get(format!("{url}/slow")).send());
    until(|| upstream.counters.requests_open() == 2).await;
    let begun = Instant::now();
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    // Answered or cut, but not left waiting.
    let _ = soon(request).await;
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once() {
    let upstream = Upstream::start();
    let directory = one_route(&upstream, "/fault/hang/start", "drain_timeout = \"60s\"");
    let (mut running, url) = serve(directory.path()).await;
    let request = tokio::spawn(client().get(format!("{url}/slow")).send());
    until(|| upstream.counters.requests_open() == 2).await;
    running.terminate();
    running.line("stopping").await;
    assert!(running.runs(), "a gather runs");
    let begun = Instant::now();
    running.terminate();
    let code = running.ended().await;
    assert!(code.is_some(), "it ends by itself, not by the signal");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let answer = soon(request).await.expect("no panic");
    assert!(answer.is_err(), "cut off: {answer:?}");
}

#[tokio::test]
async fn a_closed_standard_error_does_not_stop_the_service() {
    let upstream = Upstream::start();
    let directory = one_route(&upstream, "/", "");
    let port = free_port();
    let mut command = gatherd::<&str>(directory.path(), &[]);
    let https = format!("[\"127.0.0.1:{port}\"]");
    command
        .env("GATHERD_SERVER__HTTPS", https)
        .kill_on_drop(true);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut child = command
        .stdout(writer.try_clone().expect("a copy"))
        .stderr(writer)
        .spawn();
    let child = child.as_mut().expect("it starts");
    let url = format!("https://127.0.0.1:{port}/slow");
    let answer = soon(async {
        loop {
            if let Ok(response) = client().get(&url).send().await {
                return Answer::of(response).await;
            }
            assert!(matches!(child.try_wait(), Ok(None)), "it ended");
        }
    });
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn few_descriptors_cost_calls_a_refusal_and_nobody_their_connection() {
    let directory = TempDir::new().expect("a directory for this test");
    let upstream = Upstream::with(r#"{"time":250}"#, Duration::from_millis(500));
    let config = upstream.section("work", "/")
        + "max_calls = 1000\nmax_wait = \"1ms\"\n[rate_limit]\nenabled = false\n"
        + &route("/a", "all", "work", "calls = 2");
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"";
    let text = config_text("max_in_flight_per_client = 1000", &config);
    let text = text.replace("[admin]\nenabled = false", admin);
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    let mut command = Command::new("/bin/sh");
    let limited = "ulimit -n 300 && exec \"$0\"";
    command.args(["-c", limited, env!("CARGO_BIN_EXE_gatherd")]);
    command.current_dir(directory.path()).env_clear();
    let mut running = Running::start(command);
    running.line("are at most these now").await;
    let url = format!("https://{}/a", running.address("listening for HTTPS").await);
    let admin = running.address("listening for operators").await;
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        let [_, client] = http1_and_http2();
        // The others go over its connection.
        get(&client, &url).await;
        for _ in 0..60 {
            let (client, url) = (client.clone(), url.clone());
            clients.spawn(async move { get(&client, &url).await.status });
        }
    }
    until(|| upstream.counters.requests_open() > 50).await;
    let ready = get(&client(), &format!("http://{admin}/readyz")).await;
    assert_eq!(ready.status, 200);
    let statuses = soon(clients.join_all()).await;
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert!(count(200) > 0, "{statuses:?}");
    assert_eq!(count(200) + count(503), 300, "{statuses:?}");
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
}

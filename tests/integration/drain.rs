//! Stops under load: every accepted connection is answered, and nobody can stretch the end.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge_client::tls_within;
use crate::harness::{Answer, Upstream, client, config_text, route, soon, until};
use crate::programs::{Running, free_port, gatherd, said};
use crate::traffic::Traffic;

/// A config file in a new directory, with one route that asks `path` of the upstream.
fn directory(upstream: &Upstream, path: &str, server: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory for this test");
    let rest = [
        "[rate_limit]\nenabled = false\n[log]\naccess = \"off\"\n".to_owned(),
        upstream.section("work", path),
        route("/a", "all", "work", "calls = 2"),
    ];
    let text = config_text(server, &rest.concat());
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    directory
}

async fn serve(directory: &TempDir) -> (Running, SocketAddr) {
    let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
    let address = running.address("listening for HTTPS").await;
    (running, address.parse().expect("an address"))
}

/// How often the tests stop a service; more by hand.
fn rounds() -> usize {
    let said = std::env::var("GATHERD_TEST_ROUNDS").ok();
    said.and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

#[tokio::test]
async fn stops_under_mixed_load_lose_nothing() {
    for round in 0..rounds() {
        let upstream = Upstream::with(r#"{"time":250}"#, Duration::from_millis(20));
        let server = format!("worker_threads = {}", 1 + round % 2);
        let directory = directory(&upstream, "/", &server);
        let (running, address) = serve(&directory).await;
        let traffic = Traffic::start(address, "/a", directory.path(), false);
        until(|| traffic.answered() > 100).await;
        running.terminate();
        assert_eq!(running.ended().await, Some(0));
        let (lost, _) = traffic.ended().await;
        assert_eq!(lost, [""; 0], "round {round}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_answered_once_more_and_told_that_it_ends() {
    let upstream = Upstream::start();
    let directory = directory(&upstream, "/", "");
    let (mut running, address) = serve(&directory).await;
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut stream = tls_within(directory.path(), stream, "http/1.1")
        .await
        .expect("TLS");
    let request = b"GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    stream.read_u8().await.expect("an answer");
    // What is left of the first answer, and the whole second one.
    running.terminate();
    running.line("stopping").await;
    stream.write_all(request).await.expect("it reads");
    let mut rest = String::new();
    soon(stream.read_to_string(&mut rest))
        .await
        .expect("an end in good order");
    let answers: Vec<&str> = rest.split("TTP/1.1 200 OK").collect();
    assert_eq!(answers.len(), 3, "{rest}");
    assert!(!answers[1].contains("connection: close"), "{rest}");
    assert!(answers[2].contains("connection: close"), "{rest}");
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_gather_that_would_outlast_the_drain_is_answered_before_the_end() {
    let upstream = Upstream::start();
    let directory = directory(&upstream, "/fault/hang/start", "drain_timeout = \"1500ms\"");
    let (running, address) = serve(&directory).await;
    let request = tokio::spawn(client().get(format!("https://{address}/a")).send());
    until(|| upstream.counters.requests_open() == 2).await;
    running.terminate();
    let answer = Answer::of(soon(request).await.expect("no panic").expect("an answer")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "draining")
    );
    answer.header("retry-after");
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn slow_clients_do_not_stretch_the_end() {
    let upstream = Upstream::start();
    let directory = directory(&upstream, "/", "drain_timeout = \"60s\"");
    let (running, address) = serve(&directory).await;
    let silent = TcpStream::connect(address).await.expect("it listens");
    let mut idle = Vec::new();
    for (protocol, begun) in [
        ("http/1.1", ""),
        ("http/1.1", "GET /a HTTP/1.1\r\nhost: loc"),
        ("h2", ""),
        ("h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ] {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut stream = tls_within(directory.path(), stream, protocol)
            .await
            .expect("TLS");
        stream.write_all(begun.as_bytes()).await.expect("it reads");
        idle.push(stream);
    }
    let begun = Instant::now();
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    drop((silent, idle));
}

#[tokio::test]
async fn a_delayed_drain_is_not_ready_and_takes_connections_meanwhile() {
    let upstream = Upstream::start();
    let server = "drain_delay = \"4s\"\nhealth_path = \"/healthz\"";
    let directory = directory(&upstream, "/", server);
    let (mut running, address) = serve(&directory).await;
    let get = |path: &str| client().get(format!("https://{address}{path}")).send();
    assert_eq!(
        soon(get("/healthz")).await.expect("an answer").status(),
        200
    );
    running.terminate();
    running.line("stopping").await;
    assert_eq!(
        soon(get("/healthz")).await.expect("an answer").status(),
        503
    );
    assert_eq!(soon(get("/a")).await.expect("an answer").status(), 200);
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_listener_that_is_closed_refuses_while_requests_still_run() {
    let upstream = Upstream::with("1", Duration::from_secs(3));
    let directory = directory(&upstream, "/", "");
    let (running, address) = serve(&directory).await;
    let request = tokio::spawn(client().get(format!("https://{address}/a")).send());
    until(|| upstream.counters.requests_open() == 2).await;
    running.terminate();
    let refused = soon(async {
        loop {
            if let Err(error) = TcpStream::connect(address).await {
                return error.kind();
            }
        }
    });
    assert_eq!(refused.await, std::io::ErrorKind::ConnectionRefused);
    assert_eq!(upstream.counters.requests_open(), 2, "it still runs");
    assert_eq!(
        soon(request)
            .await
            .expect("no panic")
            .expect("an answer")
            .status(),
        200
    );
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_healthcheck_is_fine_only_while_the_service_is_ready() {
    let upstream = Upstream::start();
    let directory = directory(&upstream, "/", "drain_delay = \"5s\"");
    let file = directory.path().join("config.toml");
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{}\"", free_port());
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, text.replace("[admin]\nenabled = false", &admin)).expect("a file");
    let check = || said(directory.path(), &["healthcheck"]);
    let before = check().await;
    assert_eq!(before.code, Some(69), "{before:?}");
    assert!(before.error.contains("refused"), "{before:?}");
    let (mut running, _) = serve(&directory).await;
    soon(async { while check().await.code != Some(0) {} }).await;
    running.terminate();
    running.line("stopping").await;
    let draining = check().await;
    assert_eq!(draining.code, Some(69), "{draining:?}");
    assert!(draining.error.contains("draining"), "{draining:?}");
    assert_eq!(running.ended().await, Some(0));
}

//! Hedges inside of a gather: second attempts of slow branches, and what holds them back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Answer, Service, Upstream, route, until};
use crate::raw_upstreams::get_all;

/// An upstream whose replies take so long as its script says for each request in turn, and then none.
async fn scripted(script: &'static [(u64, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let next = next.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    head.clear();
                    let turn = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let (delay, reply) = script.get(turn).copied().unwrap_or((0, "200 1"));
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                    let (head, body) = reply.rsplit_once(' ').expect("a status and a body");
                    let length = body.len();
                    let reply =
                        format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
                    if stream.write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("[upstreams.work]\nurl = \"http://{address}/\"\n")
}

fn is(answer: &Answer, body: &str, gather: &str) {
    let seen = (answer.status, answer.body.as_str(), answer.header("gather"));
    assert_eq!(seen, (200, body, gather), "{answer:?}");
}

#[tokio::test]
async fn an_all_of_eight_answers_before_its_straggler_with_the_same_bytes() {
    const STRAGGLER: &[(u64, &str)] = &[
        (0, "200 0"),
        (0, "200 0"),
        (0, "200 0"),
        (5000, "200 9"),
        (0, "200 0"),
        (0, "200 0"),
        (0, "200 0"),
        (0, "200 0"),
        (0, "200 0"),
    ];
    for after in ["50ms", "siblings"] {
        let more = format!("calls = 8\nhedge_after = \"{after}\"\nhedge_min = \"20ms\"");
        let more = match after {
            "siblings" => more,
            _ => more.replace("hedge_min = \"20ms\"", ""),
        };
        let config = scripted(STRAGGLER).await + &route("/eight", "all", "work", &more);
        let service = Service::start(&config).await;
        let started = std::time::Instant::now();
        let answer = service.get("/eight").await;
        is(&answer, "[0,0,0,0,0,0,0,0]", "total=8, ok=8, failed=0");
        assert!(started.elapsed() < Duration::from_secs(4), "{after}");
    }
}

#[tokio::test]
async fn a_failed_attempt_is_no_outcome_while_the_other_runs() {
    let more = "calls = 1\nhedge_after = \"50ms\"";
    let hedge_fails: &[(u64, &str)] = &[(400, "200 1"), (0, "500 2")];
    let first_fails: &[(u64, &str)] = &[(200, "500 1"), (400, "200 2")];
    for (script, body) in [(hedge_fails, "[1]"), (first_fails, "[2]")] {
        let config = scripted(script).await + &route("/one", "all", "work", more);
        let service = Service::start(&config).await;
        is(&service.get("/one").await, body, "total=1, ok=1, failed=0");
    }
    let both_fail: &[(u64, &str)] = &[(400, "500 1"), (0, "503 2")];
    let config = scripted(both_fail).await + &route("/one", "available", "work", more);
    let service = Service::start(&config).await;
    let answer = service.get("/one").await;
    assert_eq!(
        (answer.status, answer.kinds()),
        (500, vec!["status".to_owned()])
    );
}

#[tokio::test]
async fn a_hedge_goes_to_another_address() {
    let (slow, quick) = (Upstream::start(), Upstream::start());
    // Both have the path, and one of them hangs there: whichever is called first, the other is next.
    let config = format!(
        "[upstreams.work]\nurl = [\"http://{}/fault/delay/300ms\", \"http://{}/fault/delay/300ms\"]\n",
        slow.addr, quick.addr
    ) + &route(
        "/one",
        "all",
        "work",
        "calls = 1\nhedge_after = \"50ms\"\nhedge_budget = 1.0",
    );
    let service = Service::start(&config).await;
    for _ in 0..5 {
        assert_eq!(service.get("/one").await.status, 200);
        until(|| slow.counters.requests_open() + quick.counters.requests_open() == 0).await;
    }
    let seen = (slow.counters.requests(), quick.counters.requests());
    assert_eq!(seen, (5, 5));
}

#[tokio::test]
async fn a_uniformly_slow_upstream_sees_the_budget_and_no_more() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/fault/delay/100ms")
        + &route("/all", "all", "work", "calls = 4\nhedge_after = \"20ms\"");
    let server = "max_in_flight_per_client = 2000";
    let service = Service::with(server, "[rate_limit]\nenabled = false", &config).await;
    let gathers = 100;
    for answer in get_all(vec![service.url("/all"); gathers], 10).await {
        assert_eq!(answer.status, 200);
    }
    until(|| upstream.counters.requests_open() == 0).await;
    let calls = 4 * gathers as u64;
    let extra = upstream.counters.requests() - calls;
    // Ten that were saved up, and one for each twenty calls.
    assert!((1..=10 + calls / 20).contains(&extra), "{extra}");
}

#[tokio::test]
async fn there_is_no_hedge_while_the_upstream_asks_for_patience() {
    let script: &[(u64, &str)] = &[(0, "503 x\r\nretry-after: 60 0"), (300, "200 1")];
    let config =
        scripted(script).await + &route("/one", "all", "work", "calls = 1\nhedge_after = \"20ms\"");
    let service = Service::start(&config).await;
    assert_eq!(service.get("/one").await.kinds(), ["status"]);
    // A hedge would have had the third reply of the script, which comes at once.
    let started = std::time::Instant::now();
    is(&service.get("/one").await, "[1]", "total=1, ok=1, failed=0");
    assert!(started.elapsed() >= Duration::from_millis(290));
}

#[tokio::test]
async fn server_timing_says_where_the_time_went_and_only_to_whom_it_may() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/fault/delay/50ms")
        + &route("/all", "all", "work", "calls = 2\nhedge_after = \"20ms\"");
    for (setting, tells) in [("off", false), ("trusted", false), ("all", true)] {
        let server = format!("server_timing = \"{setting}\"");
        let service = Service::with(&server, "[rate_limit]\nenabled = false", &config).await;
        let answer = service.get("/all").await;
        assert_eq!(
            answer.headers.contains_key("server-timing"),
            tells,
            "{setting}"
        );
    }
    let server = "server_timing = \"trusted\"\ntrusted_proxies = [\"127.0.0.1/32\", \"::1/128\"]";
    let service = Service::with(server, "[rate_limit]\nenabled = false", &config).await;
    let answer = service.get("/all").await;
    let timing = answer.header("server-timing");
    let entries: Vec<&str> = timing.split(", ").collect();
    let names = entries.iter().filter_map(|entry| entry.split_once(";dur="));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    let branch = |name: &str| {
        [
            name.to_owned(),
            format!("{name}.wait"),
            format!("{name}.connect"),
            format!("{name}.first_byte"),
        ]
    };
    assert_eq!(names, [branch("1"), branch("2")].concat(), "{timing}");
    let took = |name: &str| -> f64 {
        let entry = entries
            .iter()
            .find(|it| it.starts_with(&format!("{name};dur=")));
        let (_, rest) = entry
            .and_then(|it| it.split_once("dur="))
            .expect("the entry");
        rest.split(';')
            .next()
            .and_then(|it| it.parse().ok())
            .expect("milliseconds")
    };
    assert!(
        took("1") >= 50.0 && took("1.first_byte") >= took("1.connect"),
        "{timing}"
    );
    assert!(timing.contains(";desc=\"ok (hedged)\""), "{timing}");
    let failed = service.get("/all?timeout=10").await;
    assert!(
        failed.header("server-timing").contains(";desc=\"timeout\""),
        "{failed:?}"
    );
}

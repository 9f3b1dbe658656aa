//! The access log of the running program: one line for each request, whatever becomes of it.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Answer, Upstream, client, http1_and_http2, soon, until};
use crate::log_lines::{Logged, UNLIMITED, assert_members, work};

#[tokio::test]
async fn a_gathered_answer_has_one_line_that_tells_all_of_it() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    for (client, protocol) in http1_and_http2().iter().zip(["HTTP/1.1", "HTTP/2.0"]) {
        let answer = logged
            .ask(client, "GET", "/all?timeout=5000&key=hush")
            .await;
        let line = logged.line().await;
        let id = answer.header("x-request-id");
        let expected = [
            ("level", "INFO".into()),
            ("target", "gatherd::access".into()),
            ("message", "request".into()),
            ("client", "127.0.0.1".into()),
            ("method", "GET".into()),
            ("route", "/all".into()),
            ("path", Value::Null),
            ("protocol", protocol.into()),
            ("policy", "all".into()),
            ("status", 200.into()),
            ("outcome", "gathered".into()),
            ("body_bytes", answer.body.len().into()),
            ("request_id", id.into()),
            ("trace_id", id.into()),
        ];
        assert_members(&line, &expected);
        let left = line["deadline_left_ms"].as_u64().expect("a number");
        assert!((1..=5000).contains(&left), "{line}");
        let took = line["duration_ms"].as_f64().expect("a number");
        assert!(took > 0.0 && took < 5000.0, "{line}");
        assert_branches(&line, took);
    }
    assert!(!logged.file().contains("hush"), "no query strings");
    logged.end().await;
}

/// Two branches that succeeded within `took` milliseconds.
fn assert_branches(line: &Value, took: f64) {
    let branches = line["branches"].as_array().expect("branches");
    assert_eq!(branches.len(), 2, "{line}");
    for (branch, name) in branches.iter().zip(["1", "2"]) {
        let branch_took = branch["duration_ms"].as_f64().expect("a number");
        assert!(branch_took > 0.0 && branch_took <= took, "{line}");
        assert_eq!(branch["span_id"].as_str().expect("a span").len(), 16);
        let expected = [
            ("branch", name.into()),
            ("upstream", "work".into()),
            ("kind", "ok".into()),
            ("status", 200.into()),
            ("hedged", false.into()),
            ("lingered", false.into()),
        ];
        assert_members(branch, &expected);
    }
    assert_ne!(branches[0]["span_id"], branches[1]["span_id"]);
}

#[tokio::test]
async fn every_request_has_one_line_with_its_route_and_never_its_query() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    for client in http1_and_http2() {
        for (method, path, status, outcome, route) in [
            ("HEAD", "/all", 200, "gathered", Some("/all")),
            (
                "GET",
                "/all?timeout=0",
                400,
                "invalid-timeout",
                Some("/all"),
            ),
            ("POST", "/all", 405, "method-not-allowed", Some("/all")),
            (
                "BREW",
                "/half/x",
                405,
                "method-not-allowed",
                Some("/half/{id}"),
            ),
            ("GET", "/half/%ff", 400, "bad-request", Some("/half/{id}")),
            ("GET", "/none/at/all?key=hush", 404, "not-found", None),
        ] {
            let answer = logged.ask(&client, method, path).await;
            let line = logged.line().await;
            assert_eq!(answer.status, status);
            let path = route.map_or("/none/at/all".into(), |_| Value::Null);
            let expected = [
                ("method", method.into()),
                ("status", status.into()),
                ("outcome", outcome.into()),
                ("route", route.map_or(Value::Null, Value::from)),
                ("path", path),
                ("body_bytes", answer.body.len().into()),
            ];
            assert_members(&line, &expected);
        }
    }
    assert!(!logged.file().contains("hush"), "no query strings");
    logged.end().await;
}

#[tokio::test]
async fn a_line_says_of_each_branch_how_it_went() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    let client = client();
    logged.ask(&client, "GET", "/half/7").await;
    let line = logged.line().await;
    assert_members(
        &line,
        &[("status", 500.into()), ("outcome", "gather-failed".into())],
    );
    assert_members(
        &line["branches"][1],
        &[
            ("branch", "bad".into()),
            ("kind", "status".into()),
            ("status", 503.into()),
        ],
    );
    logged.ask(&client, "GET", "/hang?timeout=150").await;
    let line = logged.line().await;
    assert_members(
        &line,
        &[
            ("status", 500.into()),
            ("outcome", "deadline-exceeded".into()),
            ("deadline_left_ms", 0.into()),
        ],
    );
    let [good, slow] = [&line["branches"][0], &line["branches"][1]];
    assert_members(good, &[("kind", "ok".into()), ("lingered", false.into())]);
    assert_members(
        slow,
        &[
            ("kind", "timeout".into()),
            ("status", Value::Null),
            ("lingered", true.into()),
        ],
    );
    logged.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_has_its_line_too() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    for client in http1_and_http2() {
        let seen = upstream.counters.requests();
        let request = tokio::spawn(client.get(logged.url("/hang")).send());
        until(|| upstream.counters.requests() == seen + 2).await;
        request.abort();
        let _ = request.await;
        drop(client);
        let line = logged.line().await;
        assert_members(
            &line,
            &[
                ("status", 499.into()),
                ("outcome", "client-left".into()),
                ("route", "/hang".into()),
                ("body_bytes", 0.into()),
            ],
        );
        let [good, slow] = [&line["branches"][0], &line["branches"][1]];
        assert_eq!(good["upstream"], "work");
        assert_members(
            slow,
            &[("kind", "unfinished".into()), ("lingered", true.into())],
        );
    }
    logged.end().await;
}

#[tokio::test]
async fn requests_that_a_layer_refuses_have_a_line() {
    let upstream = Upstream::start();
    let config = work(&upstream).replace(
        UNLIMITED,
        "[rate_limit]\nrequests_per_second = 0.001\nburst = 1\n",
    );
    let mut logged = Logged::start("access = \"errors\"", &config).await;
    let client = client();
    assert_eq!(logged.ask(&client, "GET", "/all").await.status, 200);
    assert_eq!(logged.ask(&client, "GET", "/half/1").await.status, 429);
    let line = logged.line().await;
    assert_members(
        &line,
        &[
            ("status", 429.into()),
            ("outcome", "rate-limited".into()),
            ("route", "/half/{id}".into()),
            ("branches", Value::Null),
            ("deadline_left_ms", Value::Null),
        ],
    );
    let mut tls = logged.tls().await;
    let twice = b"GET /all HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n";
    tls.write_all(twice).await.expect("it is sent");
    let line = logged.line().await;
    assert_members(
        &line,
        &[("status", 400.into()), ("outcome", "bad-request".into())],
    );
    // Those that went well have none.
    logged.end().await;
}

#[tokio::test]
async fn nobody_has_a_line_when_it_is_off() {
    let upstream = Upstream::start();
    let logged = Logged::start("access = \"off\"", &work(&upstream)).await;
    assert_eq!(logged.ask(&client(), "GET", "/all").await.status, 200);
    assert_eq!(logged.ask(&client(), "GET", "/none").await.status, 404);
    logged.end().await;
}

/// Sends a request head and reads the status of the answer, if there is one.
async fn raw(logged: &Logged, head: &[u8]) -> Option<String> {
    let mut tls = logged.tls().await;
    tls.write_all(head).await.expect("it is sent");
    let mut answer = [0; 64];
    let length = soon(tls.read(&mut answer)).await.ok()?;
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    answer.split(' ').nth(1).map(str::to_owned)
}

#[tokio::test]
async fn hostile_requests_write_no_line_of_their_own_and_show_no_header() {
    let upstream = Upstream::start();
    for format in ["json", "text"] {
        let log = format!("format = \"{format}\"");
        let logged = Logged::start(&log, &work(&upstream)).await;
        let mut answered = 0;
        for path in [
            "/\u{202e}gpj.exe",
            "/a\u{2028}{\"status\":200}",
            "/\u{85}\u{9b}31m",
            "/\u{7f}",
            "/%0a%0d%1b[2J",
            "/\"status\":200,\"outcome\":\"gathered",
            "/x\u{feff}\u{200b}",
        ] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nx-request-id: hush\u{202e}\r\n\
                 authorization: hush\r\nuser-agent: hush\tx\r\ntraceparent: hush\r\n\r\n"
            );
            // What the HTTP library refuses by itself is no request.
            let status = raw(&logged, head.as_bytes()).await;
            answered += usize::from(status.as_deref() == Some("404"));
        }
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(9_000));
        assert_eq!(raw(&logged, long.as_bytes()).await.as_deref(), Some("404"));
        answered += 1;
        assert!(answered >= 4, "{answered}");
        until(|| logged.file().lines().count() >= answered).await;
        let file = logged.file();
        assert_eq!(file.lines().count(), answered, "{file}");
        assert!(file.lines().all(|line| line.len() < 1_000), "{file}");
        let hidden = |it: char| {
            (it.is_control() && it != '\n') || "\u{202e}\u{2028}\u{feff}\u{200b}".contains(it)
        };
        assert!(!file.contains(hidden) && !file.contains("hush"), "{file:?}");
        for line in file.lines() {
            if format == "json" {
                let line: Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(line["status"], 404);
            } else {
                assert_eq!(line.matches(" status=404 ").count(), 1, "{line}");
                assert!(!line.contains(" status=200"), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn a_trusted_peers_trace_goes_on_in_the_line_and_in_every_call() {
    let upstream = Upstream::start();
    let config = work(&upstream)
        + "[[routes]]\npath = \"/echo\"\npolicy = \"all\"\nbranches = [\
           { name = \"a\", upstream = \"work\", target = \"/fault/echo\" }, \
           { name = \"b\", upstream = \"work\", target = \"/fault/echo\" }]\n";
    let server = "trusted_proxies = [\"127.0.0.0/8\"]";
    let mut logged = Logged::with(server, "", &config).await;
    let theirs = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (version, flags, ours) in [
        ("00", "01", "01"),
        ("00", "02", "00"),
        ("cc", "03-new", "01"),
    ] {
        let request = client().get(logged.url("/echo"));
        let request = request
            .header(
                "traceparent",
                format!("{version}-{theirs}-00f067aa0ba902b7-{flags}"),
            )
            .header("tracestate", "vendor=1")
            .header("x-request-id", "order-66");
        let answer = Answer::of(soon(request.send()).await.expect("an answer")).await;
        let line = logged.line().await;
        let expected = [
            ("trace_id", theirs.into()),
            ("request_id", "order-66".into()),
        ];
        assert_members(&line, &expected);
        for branch in 0..2 {
            let span = line["branches"][branch]["span_id"]
                .as_str()
                .expect("a span");
            assert_ne!(span, "00f067aa0ba902b7");
            let headers = &answer.json()[branch]["headers"];
            assert_eq!(headers["traceparent"], format!("00-{theirs}-{span}-{ours}"));
            assert_eq!(headers["tracestate"], Value::Null);
        }
    }
    logged.end().await;
}

#[tokio::test]
async fn requests_of_one_trace_have_ids_of_their_own() {
    let upstream = Upstream::start();
    let server = "trusted_proxies = [\"127.0.0.0/8\"]";
    let mut logged = Logged::with(server, "", &work(&upstream)).await;
    let theirs = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut ids = std::collections::HashSet::from([theirs.to_owned()]);
    for _ in 0..2 {
        let request = client().get(logged.url("/none"));
        let request = request.header("traceparent", format!("00-{theirs}-00f067aa0ba902b7-01"));
        let answer = Answer::of(soon(request.send()).await.expect("an answer")).await;
        let line = logged.line().await;
        assert_members(&line, &[("trace_id", theirs.into())]);
        assert_eq!(line["request_id"], answer.header("x-request-id"));
        assert!(
            ids.insert(answer.header("x-request-id").to_owned()),
            "{ids:?}"
        );
    }
    logged.end().await;
}

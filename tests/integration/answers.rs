//! What every answer is: its status, its headers, and what it never says.

use std::collections::BTreeSet;

use tokio::io::AsyncWriteExt;

use crate::harness::{Service, Upstream, client, http1_and_http2, route};
use crate::raw_upstreams::{Raw, request_head};

/// One route for each kind of answer.
pub(crate) fn config(upstream: &Upstream) -> String {
    [
        upstream.section("work", "/"),
        upstream.section("bad", "/fault/status/503"),
        upstream.section("slow", "/fault/hang/start"),
        route("/all", "all", "work", ""),
        route("/first", "first", "work", ""),
        route("/failed", "all", "bad", ""),
        route("/late", "all", "slow", "timeout = \"100ms\""),
        route("/off", "all", "work", "enabled = false"),
    ]
    .concat()
}

/// Method, path, status and the problem's type.
pub(crate) const ANSWERS: &[(&str, &str, u16, &str)] = &[
    ("GET", "/all", 200, ""),
    ("GET", "/first", 200, ""),
    ("GET", "/all?timeout=0", 400, "invalid-timeout"),
    ("GET", "/nowhere", 404, "not-found"),
    ("GET", "/all/", 404, "not-found"),
    ("POST", "/nowhere", 404, "not-found"),
    ("POST", "/all", 405, "method-not-allowed"),
    ("PUT", "/all", 405, "method-not-allowed"),
    ("DELETE", "/first", 405, "method-not-allowed"),
    ("PATCH", "/all", 405, "method-not-allowed"),
    ("OPTIONS", "/all", 405, "method-not-allowed"),
    ("BREW", "/all", 405, "method-not-allowed"),
    ("GET", "/failed", 500, "gather-failed"),
    ("GET", "/late", 500, "deadline-exceeded"),
    ("GET", "/off", 503, "overloaded"),
];

pub(crate) const UNLIMITED: &str = "[rate_limit]\nenabled = false";

fn names(value: &serde_json::Value) -> BTreeSet<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn every_answer_has_its_status_its_headers_and_a_name_of_its_own() {
    let upstream = Upstream::start();
    let service = Service::start(&config(&upstream)).await;
    let mut ids = BTreeSet::new();
    for client in http1_and_http2() {
        for (method, path, status, problem) in ANSWERS {
            let answer = service
                .ask(&client, method, path, &[("x-request-id", "mine")])
                .await;
            assert_eq!(answer.status, *status, "{method} {path} {answer:?}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            assert!(!answer.headers.contains_key("strict-transport-security"));
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
            assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            assert!(
                ids.insert(answer.header("x-request-id").to_owned()),
                "{answer:?}"
            );
            let gathered =
                ["/all", "/first", "/failed", "/late"].contains(path) && *method == "GET";
            assert_eq!(
                answer.headers.contains_key("gather"),
                gathered,
                "{method} {path}"
            );
            match *status {
                200 => assert_eq!(answer.header("content-type"), "application/json"),
                _ => assert_eq!(answer.problem(), *problem, "{method} {path}"),
            }
            assert_eq!(answer.headers.contains_key("retry-after"), *status == 503);
            assert_eq!(answer.headers.contains_key("allow"), *status == 405);
            if *status == 405 {
                let allow: BTreeSet<_> = answer.header("allow").split(", ").collect();
                assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow:?}");
                assert!(!allow.contains(method), "{allow:?}");
            }
        }
    }
    assert!(!ids.contains("mine"), "said by somebody who is not trusted");
}

#[tokio::test]
async fn a_head_runs_the_gather_and_says_what_a_get_would() {
    let upstream = Upstream::start();
    let service = Service::start(&config(&upstream)).await;
    for client in http1_and_http2() {
        for path in [
            "/all",
            "/first",
            "/failed",
            "/nowhere",
            "/off",
            "/all?timeout=0",
        ] {
            let before = upstream.counters.requests();
            let get = service.ask(&client, "GET", path, &[]).await;
            let between = upstream.counters.requests();
            let head = service.ask(&client, "HEAD", path, &[]).await;
            assert_eq!(
                (head.status, head.body.as_str()),
                (get.status, ""),
                "{path}"
            );
            let calls = upstream.counters.requests() - between;
            assert_eq!(calls, between - before, "{path}");
            assert_eq!(
                calls > 0,
                ["/all", "/first", "/failed"].contains(&path),
                "{path}"
            );
            for name in ["content-type", "cache-control"] {
                assert_eq!(
                    head.headers.get(name),
                    get.headers.get(name),
                    "{path} {name}"
                );
            }
            // How long a failed branch took is part of that body.
            if path != "/failed" {
                assert_eq!(
                    head.header("content-length"),
                    get.body.len().to_string(),
                    "{path}"
                );
                assert_eq!(
                    head.headers.get("gather"),
                    get.headers.get("gather"),
                    "{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn problems_have_the_members_of_the_contract_and_no_others() {
    let upstream = Upstream::start();
    let service = Service::start(&config(&upstream)).await;
    for (method, path, status, _) in ANSWERS.iter().filter(|answer| answer.2 != 200) {
        let answer = service.ask(&client(), method, path, &[]).await;
        let json = answer.json();
        let mut members = BTreeSet::from(["detail", "status", "title", "type"]);
        if *status == 500 {
            members.insert("branches");
        }
        assert_eq!(names(&json), members, "{method} {path}");
        assert_eq!(json["status"], *status);
        for text in ["title", "detail"] {
            assert!(
                json[text].as_str().is_some_and(|text| !text.is_empty()),
                "{json}"
            );
        }
        for branch in json["branches"].as_array().into_iter().flatten() {
            let mut members = BTreeSet::from(["branch", "elapsed_ms", "kind", "upstream"]);
            if *path == "/failed" {
                members.insert("status");
                assert_eq!(
                    (&branch["upstream"], &branch["status"]),
                    (&"bad".into(), &503.into())
                );
            }
            // A call that brought no head has no status.
            assert_eq!(names(branch), members, "{path}");
            assert!(
                branch["elapsed_ms"].is_u64() && branch["branch"].is_string(),
                "{branch}"
            );
        }
    }
}

#[tokio::test]
async fn an_upstreams_address_headers_and_body_are_never_told() {
    let leaky = Raw::serve(|mut stream, _| async move {
        let _ = request_head(&mut stream).await;
        let reply = b"HTTP/1.1 500 sesame\r\nx-sesame: sesame\r\nset-cookie: sesame\r\n\
                      content-length: 10\r\n\r\n\"sesame 1\"";
        // Whether it is read is gatherd's affair.
        let _ = stream.write_all(reply).await;
    })
    .await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut config = String::new();
    for (name, addr) in [("leaky", leaky.addr), ("gone", gone)] {
        config += &format!(
            "[upstreams.{name}]\nurl = \"http://{addr}/sesame\"\n\
             headers = {{ authorization = {{ file = \"token\" }} }}\n"
        );
    }
    config += &route("/leaky", "all", "leaky", "");
    config += &route("/gone", "first", "gone", "");
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("token"), "sesame").unwrap();
    let service = Service::within(directory, "", UNLIMITED, &config).await;
    for (path, kind) in [("/leaky", "status"), ("/gone", "connect")] {
        let answer = service.get(path).await;
        assert_eq!((answer.status, answer.kinds()[0].as_str()), (500, kind));
        let told = format!("{answer:?}");
        for secret in ["sesame", "127.0.0.1", "http://"] {
            assert!(!told.contains(secret), "{secret}: {told}");
        }
    }
}

#[tokio::test]
async fn a_request_id_is_kept_from_a_trusted_proxy_when_it_is_harmless() {
    let upstream = Upstream::start();
    let proxies = "trusted_proxies = [\"127.0.0.0/8\"]";
    let service = Service::with(proxies, UNLIMITED, &config(&upstream)).await;
    let longest = "a".repeat(128);
    for id in ["abc-DEF_1.2", "0", "...", longest.as_str()] {
        for path in ["/all", "/nowhere", "/failed", "/off"] {
            let answer = service
                .ask(&client(), "GET", path, &[("x-request-id", id)])
                .await;
            assert_eq!(answer.header("x-request-id"), id);
        }
    }
    let longer = "a".repeat(129);
    for id in [
        longer.as_str(),
        "",
        "a b",
        "a/b",
        "a\"b",
        "a,b",
        "a:b",
        "<a>",
        "a%0d",
        "\u{e9}",
    ] {
        let answer = service
            .ask(&client(), "GET", "/all", &[("x-request-id", id)])
            .await;
        let ours = answer.header("x-request-id");
        assert!(ours != id && !ours.is_empty(), "{id:?}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_and_an_object_has_what_came() {
    let upstream = Upstream::start();
    let branches = "[[routes]]\npath = \"/profile\"\npolicy = \"available\"\nshape = \"object\"\nbranches = [\
        { name = \"user\", upstream = \"work\", target = \"/user\" },\
        { name = \"orders\", upstream = \"work\", target = \"/fault/status/500\" },\
        { name = \"news\", upstream = \"work\", target = \"/fault/size/4\" }]\n";
    let service = Service::start(&(upstream.section("work", "/") + branches)).await;
    let answer = service.get("/profile").await;
    assert_eq!(
        answer.header("gather"),
        "total=3, ok=2, failed=1, missing=(\"orders\")"
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["user"]["time"], 250);
    assert_eq!(names(&answer.json()), BTreeSet::from(["news", "user"]));
}

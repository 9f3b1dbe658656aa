//! What of a request reaches an upstream, and that nothing of it climbs out of the template.

use serde_json::Value;

use crate::harness::{Answer, Service, Upstream, until};
use crate::raw_upstreams::{PROTOCOLS, get_as_written};

async fn service(upstream: &Upstream, http: &str) -> Service {
    let config = upstream.section("echo", "/fault/echo/base/")
        + &format!("http = \"{http}\"\nheaders = {{ x-key = \"s3cret\" }}\n")
        + "[[routes]]\npath = \"/p/{id}\"\npolicy = \"all\"\nbranches = [\
           { name = \"path\", upstream = \"echo\", target = \"/users/{id}/x-{id}\" }, \
           { name = \"query\", upstream = \"echo\", target = \"/orders?user={id}&fixed=1\", \
             forward_query = [\"lang\"], forward_headers = [\"authorization\", \"x-two\"] }]\n\
           [[routes]]\npath = \"/only-query/{id}\"\npolicy = \"all\"\nbranches = [\
           { name = \"query\", upstream = \"echo\", target = \"/orders?user={id}\" }]\n";
    Service::start(&config).await
}

/// Path parameters as a client writes them, and as they stand in path and query of a call; none where
/// the request is refused.
const PATHS: &[(&str, Option<&str>)] = &[
    ("42", Some("42")),
    ("%34%32", Some("42")),
    ("a%2fb", Some("a%2Fb")),
    ("a%5cb", Some("a%5Cb")),
    ("a%23b", Some("a%23b")),
    ("a%3fb=1", Some("a%3Fb%3D1")),
    ("1&x=2", Some("1%26x%3D2")),
    ("1%26x%3d2", Some("1%26x%3D2")),
    ("a+b", Some("a%2Bb")),
    ("a%20b", Some("a%20b")),
    ("...", Some("...")),
    ("..;", Some("..%3B")),
    ("@other.test", Some("%40other.test")),
    ("%252e%252e", Some("%252e%252e")),
    ("%252e%252e%252f", Some("%252e%252e%252f")),
    ("%25", Some("%25")),
    ("%C3%BC", Some("%C3%BC")),
    ("..", None),
    (".", None),
    ("%2e%2e", None),
    ("%2E.", None),
    (".%2e", None),
    ("%2e", None),
    ("..%2f..%2fadmin", None),
    ("..%2fadmin", None),
    ("a%2f..", None),
    ("a%2f..%2f..%2fb", None),
    ("..%5cadmin", None),
    ("a%5c..%5cb", None),
    ("%2e%2e%5c%2e%2e", None),
    ("%00", None),
    ("a%00b", None),
    ("a%0d%0ax-evil:%20y", None),
    ("a%0ab", None),
    ("%7f", None),
    ("%c2%85", None),
    ("%ff", None),
    ("%c0%ae%c0%ae", None),
];

#[tokio::test]
async fn a_path_parameter_stays_in_its_place_or_is_refused() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let service = service(&upstream, http).await;
        for (written, sent) in PATHS {
            let seen = upstream.counters.requests();
            let (status, body) = get_as_written(&service, &format!("/p/{written}"), "").await;
            let case = format!("{written} http={http}: {body}");
            let Some(sent) = sent else {
                assert_eq!(status, 400, "{case}");
                assert!(body.contains("urn:gatherd:bad-"), "{case}");
                assert_eq!(upstream.counters.requests(), seen, "{case}");
                continue;
            };
            assert_eq!(status, 200, "{case}");
            let echo: Value = serde_json::from_str(&body).unwrap();
            let path = format!("/fault/echo/base/users/{sent}/x-{sent}");
            assert_eq!(echo[0]["path"], path, "{case}");
            assert_eq!(echo[0]["query"], Value::Null, "{case}");
            assert_eq!(echo[1]["path"], "/fault/echo/base/orders", "{case}");
            assert_eq!(echo[1]["query"], format!("user={sent}&fixed=1"), "{case}");
        }
    }
}

#[tokio::test]
async fn a_path_parameter_of_dots_is_refused_wherever_it_would_stand() {
    let upstream = Upstream::start();
    let service = service(&upstream, "1").await;
    for dots in [".", "..", "%2e%2e", ".%2E"] {
        let (status, body) = get_as_written(&service, &format!("/only-query/{dots}"), "").await;
        assert_eq!(status, 400, "{dots}: {body}");
        assert!(body.contains("bad-parameter"), "{dots}: {body}");
    }
}

/// Queries as a client writes them, and what the call's query has after the template's; none where
/// the request is refused.
const QUERIES: &[(&str, Option<&str>)] = &[
    ("", Some("")),
    ("lang=en", Some("&lang=en")),
    ("lang=", Some("&lang=")),
    ("lang", Some("&lang")),
    ("%6cang=en", Some("&%6cang=en")),
    ("lang=en%26admin%3d1", Some("&lang=en%26admin%3d1")),
    ("lang=a%23b", Some("&lang=a%23b")),
    ("lang=a?b", Some("&lang=a?b")),
    ("lang=a+b", Some("&lang=a+b")),
    ("lang=a%20b", Some("&lang=a%20b")),
    ("lang=../..", Some("&lang=../..")),
    ("lang=a;user=9", Some("&lang=a%3Buser=9")),
    ("lang=caf%E9", Some("&lang=caf%E9")),
    ("lang=%E9=%ff", Some("&lang=%E9=%ff")),
    ("lang=100%", Some("&lang=100%")),
    ("lang=a|b", Some("&lang=a%7Cb")),
    ("&&lang=a&", Some("&lang=a")),
    ("user=9&fixed=2&LANG=x&lang[]=y&timeout=900", Some("")),
    ("lang=a&user=9", Some("&lang=a")),
    ("lang=a&lang=b", None),
    ("lang=a&lang=a", None),
    ("lang=a&%6Cang=b", None),
    ("lang&lang=", None),
    ("lang=%00", None),
    ("lang=a%0d%0ax:%20y", None),
    ("lang=%0a", None),
    ("lang=%E9%0a", None),
    ("lang=%c2%85", None),
];

#[tokio::test]
async fn a_forwarded_query_adds_one_parameter_and_changes_no_other() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let service = service(&upstream, http).await;
        for (written, sent) in QUERIES {
            let seen = upstream.counters.requests();
            let (status, body) = get_as_written(&service, &format!("/p/7?{written}"), "").await;
            let case = format!("{written} http={http}: {body}");
            let Some(sent) = sent else {
                assert_eq!(status, 400, "{case}");
                assert!(body.contains("urn:gatherd:bad-parameter"), "{case}");
                assert_eq!(upstream.counters.requests(), seen, "{case}");
                continue;
            };
            let echo: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(echo[0]["query"], Value::Null, "{case}");
            assert_eq!(echo[1]["query"], format!("user=7&fixed=1{sent}"), "{case}");
        }
    }
}

/// What a client says that concerns no upstream.
const PRIVATE: &[(&str, &str)] = &[
    ("cookie", "session=1"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-host", "evil.test"),
    ("forwarded", "for=10.0.0.1"),
    ("x-real-ip", "10.0.0.1"),
    ("via", "1.1 other"),
    ("referer", "https://evil.test/"),
    ("origin", "https://evil.test"),
    ("user-agent", "client/1"),
    ("accept", "text/html"),
    ("accept-encoding", "gzip"),
    ("accept-language", "de"),
    ("range", "bytes=0-1"),
    ("if-none-match", "\"1\""),
    ("x-request-id", "forged"),
    (
        "traceparent",
        "00-11111111111111111111111111111111-2222222222222222-01",
    ),
    ("tracestate", "a=b"),
    ("x-envoy-expected-rq-timeout-ms", "99999999"),
    ("x-key", "forged"),
    ("content-type", "text/plain"),
    ("te", "trailers"),
];

async fn get_with_headers(service: &Service, http2: bool) -> Answer {
    let builder = crate::harness::client_builder();
    let builder = if http2 { builder } else { builder.http1_only() };
    let mut request = builder
        .build()
        .expect("a client")
        .get(service.url("/p/7?timeout=5000"));
    for (name, value) in PRIVATE {
        request = request.header(*name, *value);
    }
    let forwarded = request
        .header("authorization", "Bearer t")
        .header("x-two", "1");
    Answer::of(
        forwarded
            .header("x-two", "2")
            .send()
            .await
            .expect("an answer"),
    )
    .await
}

#[tokio::test]
async fn calls_carry_what_the_contract_names_and_nothing_else_of_the_client() {
    for (http, authority) in PROTOCOLS.into_iter().zip(["host", ":authority"]) {
        let upstream = Upstream::start();
        let service = service(&upstream, http).await;
        let ours = [
            (authority, upstream.addr.to_string()),
            ("accept", "application/json".into()),
            ("accept-encoding", "identity".into()),
            (
                "user-agent",
                concat!("gatherd/", env!("CARGO_PKG_VERSION")).into(),
            ),
            ("x-key", "s3cret".into()),
        ];
        for client_speaks_http2 in [false, true] {
            let answer = get_with_headers(&service, client_speaks_http2).await;
            let request_id = answer.header("x-request-id").to_owned();
            assert_ne!(request_id, "forged");
            let echoes = answer.json();
            let mut spans = Vec::new();
            for (branch, forwarded) in [(0, vec![]), (1, vec!["authorization", "x-two"])] {
                let headers = echoes[branch]["headers"].as_object().unwrap();
                for (name, value) in &ours {
                    assert_eq!(headers[*name], *value, "{name} http={http}");
                }
                assert_eq!(headers["x-request-id"], request_id);
                let traceparent = headers["traceparent"].as_str().unwrap().to_owned();
                assert!(!traceparent.contains("11111111"), "{traceparent}");
                spans.push(traceparent);
                let left = headers["x-envoy-expected-rq-timeout-ms"].as_str().unwrap();
                assert!((1..=5000).contains(&left.parse().unwrap()), "{left}");
                let mut names: Vec<_> = headers.keys().map(String::as_str).collect();
                let mut expected: Vec<_> = ours.iter().map(|(name, _)| *name).collect();
                let each = [
                    "x-request-id",
                    "traceparent",
                    "x-envoy-expected-rq-timeout-ms",
                ];
                expected.extend(each.iter().chain(&forwarded));
                names.sort_unstable();
                expected.sort_unstable();
                assert_eq!(names, expected, "http={http}");
            }
            assert_ne!(spans[0], spans[1], "each call is a span of its own");
            assert_eq!(spans[0][..35], spans[1][..35], "of one trace");
            let headers = &echoes[1]["headers"];
            assert_eq!(headers["authorization"], "Bearer t");
            assert_eq!(headers["x-two"], "1, 2");
        }
    }
}

#[tokio::test]
async fn an_upstream_cannot_send_a_call_elsewhere() {
    let upstream = Upstream::start();
    let elsewhere = Upstream::start();
    let config = upstream.section("lab", "/")
        + &elsewhere.section("unused", "/")
        + "[[routes]]\npath = \"/moved/{code}\"\npolicy = \"all\"\n\
           branches = [{ name = \"a\", upstream = \"lab\", target = \"/fault/status/{code}\" }]\n";
    let service = Service::start(&config).await;
    for code in [301, 302, 303, 307, 308, 401, 407, 421, 511] {
        let answer = service.get(&format!("/moved/{code}")).await;
        assert_eq!(answer.kinds(), ["status"], "{code}");
        assert_eq!(answer.json()["branches"][0]["status"], code);
    }
    until(|| upstream.counters.requests_open() == 0).await;
    assert_eq!(upstream.counters.requests(), 9);
    assert_eq!(elsewhere.counters.connections(), 0);
}

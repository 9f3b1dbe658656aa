//! Different branches: shapes, parts, required ones, times of their own, hedges and failover.

use std::time::{Duration, Instant};

use crate::harness::{Answer, Service, Upstream, until};
use crate::raw_upstreams::PROTOCOLS;

/// A route of branches that are written as (name, target, more keys).
fn branches(path: &str, policy: &str, branches: &[(&str, &str, &str)]) -> String {
    let written = branches.iter().map(|(name, target, more)| {
        let comma = if more.is_empty() { "" } else { ", " };
        format!("{{ name = \"{name}\", upstream = \"lab\", target = \"{target}\"{comma}{more} }}")
    });
    let written: Vec<_> = written.collect();
    format!(
        "[[routes]]\npath = \"{path}\"\npolicy = {policy}\nbranches = [{}]\n",
        written.join(", ")
    )
}

async fn start(upstream: &Upstream, http: &str, routes: &[String]) -> Service {
    let section = upstream.section("lab", "/") + &format!("http = \"{http}\"\nlinger = \"1s\"\n");
    Service::start(&(section + &routes.concat())).await
}

fn is(answer: &Answer, status: u16, body: &str, gather: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    assert_eq!(answer.header("gather"), gather);
}

const BODY: &str = r#"{"items": [1, 2.50, {"deep~/er":  "\u00fc"}],"none":null}"#;

#[tokio::test]
async fn bodies_and_their_parts_are_embedded_byte_for_byte_in_branch_order() {
    let upstream = Upstream::with(BODY, Duration::ZERO);
    let some = &[
        ("slow", "/fault/delay/40ms", ""),
        ("items", "/", "select = \"/items\""),
        ("deep", "/", "select = \"/items/2/deep~0~1er\""),
        ("none", "/", "select = \"/none\""),
    ];
    let lost = &[
        ("absent", "/", "select = \"/absent\""),
        ("beyond", "/", "select = \"/items/3\""),
        ("within", "/", "select = \"/none/x\""),
        ("good", "/", ""),
    ];
    for http in PROTOCOLS {
        let routes = [
            branches("/array", "\"all\"", some),
            branches("/object", "\"all\"\nshape = \"object\"", some),
            branches("/lost", "\"available\"\nshape = \"object\"", lost),
        ];
        let service = start(&upstream, http, &routes).await;
        let parts = [
            BODY,
            r#"[1, 2.50, {"deep~/er":  "\u00fc"}]"#,
            r#""\u00fc""#,
            "null",
        ];
        let array = format!("[{}]", parts.join(","));
        is(
            &service.get("/array").await,
            200,
            &array,
            "total=4, ok=4, failed=0",
        );
        let [slow, items, deep, none] = parts;
        let object =
            format!("{{\"slow\":{slow},\"items\":{items},\"deep\":{deep},\"none\":{none}}}");
        is(
            &service.get("/object").await,
            200,
            &object,
            "total=4, ok=4, failed=0",
        );
        let missing = "total=4, ok=1, failed=3, missing=(\"absent\" \"beyond\" \"within\")";
        let good = format!("{{\"good\":{BODY}}}");
        is(&service.get("/lost").await, 200, &good, missing);
    }
}

#[tokio::test]
async fn available_answers_what_there_is_unless_a_required_branch_failed() {
    let upstream = Upstream::with("1", Duration::ZERO);
    let routes = [
        branches(
            "/some",
            "\"available\"\nshape = \"object\"",
            &[
                ("a", "/fault/status/500", ""),
                ("b", "/", "required = true"),
                ("c", "/fault/json/bad", ""),
            ],
        ),
        branches(
            "/required",
            "\"available\"",
            &[
                ("a", "/fault/hang/start", ""),
                ("b", "/fault/status/404", "required = true"),
            ],
        ),
        branches(
            "/late",
            "\"available\"",
            &[("a", "/", ""), ("b", "/fault/hang/start", "")],
        ),
        branches(
            "/late-required",
            "\"available\"",
            &[
                ("a", "/", ""),
                ("b", "/fault/hang/start", "required = true"),
            ],
        ),
        branches(
            "/few",
            "\"available\"\nneed = 2",
            &[
                ("a", "/", ""),
                ("b", "/fault/status/500", ""),
                ("c", "/fault/chunks", ""),
            ],
        ),
    ];
    let service = start(&upstream, "1", &routes).await;
    let missing = "total=3, ok=1, failed=2, missing=(\"a\" \"c\")";
    is(&service.get("/some").await, 200, "{\"b\":1}", missing);
    // At once, not at the deadline.
    assert_eq!(service.get("/required").await.kinds(), ["status"]);
    let late = service.get("/late?timeout=200").await;
    is(
        &late,
        200,
        "[1]",
        "total=2, ok=1, failed=1, missing=(\"b\")",
    );
    let late = service.get("/late-required?timeout=200").await;
    assert_eq!(late.problem(), "deadline-exceeded");
    assert_eq!(late.kinds(), ["timeout"]);
    let few = service.get("/few").await;
    assert_eq!(few.problem(), "gather-failed");
    assert_eq!(few.kinds(), ["status", "protocol"]);
}

#[tokio::test]
async fn a_branch_that_is_over_its_own_time_is_missing_and_the_others_are_not() {
    let upstream = Upstream::with("1", Duration::ZERO);
    for http in PROTOCOLS {
        let slow = ("slow", "/fault/hang/body", "timeout = \"50ms\"");
        let routes = [
            branches("/some", "\"available\"", &[slow, ("good", "/", "")]),
            branches("/all", "\"all\"", &[slow, ("good", "/", "")]),
            branches(
                "/next",
                "\"first_success\"\nhedge_after = \"10s\"",
                &[slow, ("good", "/", "")],
            ),
        ];
        let service = start(&upstream, http, &routes).await;
        let missing = "total=2, ok=1, failed=1, missing=(\"slow\")";
        is(&service.get("/some").await, 200, "[1]", missing);
        let all = service.get("/all").await;
        assert_eq!(all.problem(), "gather-failed");
        assert_eq!(all.kinds(), ["timeout"]);
        is(&service.get("/next").await, 200, "1", missing);
        until(|| upstream.counters.requests_open() == 0).await;
    }
}

#[tokio::test]
async fn a_quorum_answers_the_first_successes_in_branch_order() {
    let upstream = Upstream::with("0", Duration::ZERO);
    let targets: &[(&str, &str, &str)] = &[
        ("slow", "/fault/hang/start", ""),
        ("c", "/fault/size/3", ""),
        ("bad", "/fault/close/body", ""),
        ("d", "/fault/delay/30ms", ""),
    ];
    let routes = [
        branches("/two", "\"quorum\"\nneed = 2", targets),
        branches("/three", "\"quorum\"\nneed = 3", &targets[1..]),
    ];
    let service = start(&upstream, "1", &routes).await;
    let two = service.get("/two").await;
    assert_eq!((two.status, two.body.as_str()), (200, "[\"x\",0]"));
    let three = service.get("/three").await;
    assert_eq!(
        (three.problem().as_str(), three.kinds()),
        ("gather-failed", vec!["reset".to_owned()])
    );
}

/// Route, what it answers, and how many calls that took.
type Hedged = (&'static str, &'static str, u64);

#[tokio::test]
async fn branches_start_late_when_others_are_slow_or_at_once_when_they_failed() {
    let first_success = |after: &str, budget: &str| {
        format!("\"first_success\"\nhedge_after = \"{after}\"\nhedge_budget = {budget}")
    };
    let hang = ("hang", "/fault/hang/start", "");
    let slow = ("slow", "/fault/delay/300ms", "");
    let bad = ("bad", "/fault/status/500", "");
    let good = ("good", "/", "");
    let quorum = "\"quorum\"\nneed = 2\nhedge_after = \"10s\"\nhedge_budget = 0.0";
    let bads = [
        ("b1", bad.1, ""),
        ("b2", "/fault/garbage", ""),
        ("b3", "/fault/json/bad", ""),
        good,
    ];
    let routes = [
        branches("/hedged", &first_success("20ms", "1.0"), &[hang, good]),
        branches("/not-needed", &first_success("10s", "1.0"), &[good, hang]),
        branches("/no-budget", &first_success("20ms", "0.0"), &[slow, good]),
        branches("/failover", &first_success("10s", "0.0"), &bads),
        branches("/quorum", quorum, &[good, bad, ("other", "/", ""), hang]),
    ];
    let cases: [Hedged; 5] = [
        ("/hedged", "1", 2),
        ("/not-needed", "1", 1),
        ("/no-budget", "1", 1),
        ("/failover", "1", 4),
        ("/quorum", "[1,1]", 3),
    ];
    let upstream = Upstream::with("1", Duration::ZERO);
    let service = start(&upstream, "1", &routes).await;
    for (path, body, calls) in cases {
        let (seen, start) = (upstream.counters.requests(), Instant::now());
        let answer = service.get(path).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, body),
            "{path} {answer:?}"
        );
        assert_eq!(upstream.counters.requests() - seen, calls, "{path}");
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "{path} waited for its hedge"
        );
    }
}

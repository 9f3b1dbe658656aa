//! Every fault of the lab, on one branch and on all, under every policy and in both protocols.

use std::time::{Duration, Instant};

use crate::harness::{Answer, Service, Upstream, route, until};
use crate::raw_upstreams::{PROTOCOLS, get_all};

/// What a fault is to a branch.
const STATUS: &str = "status";
const TIMEOUT: &str = "timeout";
const RESET: &str = "reset";
const PROTOCOL: &str = "protocol";
const TOO_LARGE: &str = "too_large";
const INVALID: &str = "invalid_body";

/// Path below `/fault/`, its kind over HTTP/1.1 and over HTTP/2, where the lab can do it there.
const FAULTS: &[(&str, &str, Option<&str>)] = &[
    ("status/500", STATUS, Some(STATUS)),
    ("status/503", STATUS, Some(STATUS)),
    ("status/404", STATUS, Some(STATUS)),
    ("status/302", STATUS, Some(STATUS)),
    ("status/304", STATUS, Some(STATUS)),
    ("status/204", STATUS, Some(STATUS)),
    ("status/205", STATUS, Some(STATUS)),
    ("status/101", STATUS, None),
    ("delay/1m", TIMEOUT, Some(TIMEOUT)),
    ("hang/start", TIMEOUT, Some(TIMEOUT)),
    ("hang/head", TIMEOUT, None),
    ("hang/body", TIMEOUT, Some(TIMEOUT)),
    ("hang/end", TIMEOUT, Some(TIMEOUT)),
    ("drip/1s", TIMEOUT, Some(TIMEOUT)),
    ("length/longer", TIMEOUT, Some(TIMEOUT)),
    ("endless/1xx", PROTOCOL, None),
    ("reset/start", RESET, Some(RESET)),
    ("reset/head", RESET, None),
    ("reset/body", RESET, Some(RESET)),
    ("reset/end", RESET, Some(RESET)),
    ("close/start", RESET, Some(RESET)),
    ("close/head", RESET, None),
    ("close/body", RESET, Some(RESET)),
    ("close/end", RESET, Some(RESET)),
    ("length/shorter", INVALID, Some(PROTOCOL)),
    ("chunks", PROTOCOL, None),
    ("garbage", PROTOCOL, None),
    ("endless/head", PROTOCOL, None),
    ("endless/body", TOO_LARGE, Some(TOO_LARGE)),
    ("size/90000", TOO_LARGE, Some(TOO_LARGE)),
    ("chunked/90000", TOO_LARGE, Some(TOO_LARGE)),
    ("json/bad", INVALID, Some(INVALID)),
    ("json/two", INVALID, Some(INVALID)),
    ("json/deep/129", INVALID, Some(INVALID)),
    ("json/deep/1000000", TOO_LARGE, Some(TOO_LARGE)),
    ("json/not-utf8", INVALID, Some(INVALID)),
    ("json/empty", INVALID, Some(INVALID)),
    ("gzip", INVALID, Some(INVALID)),
];

/// Where the fault is.
#[derive(Clone, Copy, Debug)]
enum Where {
    OneBranch,
    AllBranches,
}

const POLICIES: [&str; 5] = ["all", "first", "first_success", "quorum", "available"];
const GOOD: &str = r#"{"time":250}"#;

/// The branch that stands beside the fault: one that never ends where the fault should be first.
fn beside(policy: &str, kind: &str) -> &'static str {
    match (policy, kind) {
        ("first", TIMEOUT) => "/",
        ("first", _) => "/fault/hang/start",
        _ => "/",
    }
}

fn faulty_route(path: &str, policy: &str, targets: [&str; 3]) -> String {
    let need = if policy == "quorum" { "need = 2\n" } else { "" };
    let branches = ["a", "b", "c"].iter().zip(targets).map(|(name, target)| {
        format!("{{ name = \"{name}\", upstream = \"lab\", target = \"{target}\" }}")
    });
    let branches: Vec<_> = branches.collect();
    format!(
        "[[routes]]\npath = \"{path}\"\npolicy = \"{policy}\"\n{need}branches = [{}]\n",
        branches.join(", ")
    )
}

/// What must come of `kind` under `policy`.
fn check(answer: &Answer, policy: &str, kind: &str, place: Where, case: &str) {
    let failed = |problem: &str, branches: usize| {
        assert_eq!(answer.status, 500, "{case}: {answer:?}");
        assert_eq!(answer.problem(), problem, "{case}: {answer:?}");
        assert_eq!(answer.kinds(), vec![kind; branches], "{case}: {answer:?}");
        assert!(!answer.body.contains("127.0.0.1"), "{case}: {answer:?}");
    };
    let gathered = |body: String, gather: &str| {
        assert_eq!(
            (answer.status, &answer.body),
            (200, &body),
            "{case}: {answer:?}"
        );
        assert_eq!(answer.header("gather"), gather, "{case}");
    };
    match (place, policy, kind) {
        (Where::AllBranches, _, TIMEOUT) => failed("deadline-exceeded", 3),
        (Where::AllBranches, "all" | "first", _) => failed("gather-failed", 1),
        (Where::AllBranches, "quorum", _) => failed("gather-failed", 2),
        (Where::AllBranches, _, _) => failed("gather-failed", 3),
        (Where::OneBranch, "all", TIMEOUT) => failed("deadline-exceeded", 1),
        (Where::OneBranch, "first", TIMEOUT) => assert_eq!(answer.body, GOOD, "{case}"),
        (Where::OneBranch, "all" | "first", _) => failed("gather-failed", 1),
        (Where::OneBranch, "first_success", _) => assert_eq!(answer.body, GOOD, "{case}"),
        (Where::OneBranch, "quorum", _) => assert_eq!(answer.body, format!("[{GOOD},{GOOD}]")),
        (Where::OneBranch, _, _) => gathered(
            format!("[{GOOD},{GOOD}]"),
            "total=3, ok=2, failed=1, missing=(\"b\")",
        ),
    }
}

/// A fault in its place, the path of its route, and what must come of it.
struct Case {
    fault: &'static str,
    path: String,
    policy: &'static str,
    kind: &'static str,
    place: Where,
}

async fn every_fault_in(http: &str) {
    let upstream = Upstream::start();
    let mut config = upstream.section("lab", "/");
    config += &format!("http = \"{http}\"\nmax_response = \"80000B\"\nlinger = \"200ms\"\n");
    config += "idle_timeout = \"1s\"\n";
    let mut cases = Vec::new();
    for (number, (fault, http1, http2)) in FAULTS.iter().enumerate() {
        let Some(kind) = (if http == "1" { Some(*http1) } else { *http2 }) else {
            continue;
        };
        let bad = format!("/fault/{fault}");
        for policy in POLICIES {
            let good = beside(policy, kind);
            for (place, targets) in [
                (Where::OneBranch, [good, &bad, good]),
                (Where::AllBranches, [&bad; 3]),
            ] {
                let path = format!("/{number}/{policy}/{place:?}").to_lowercase();
                config += &faulty_route(&path, policy, targets);
                cases.push(Case {
                    fault,
                    path,
                    policy,
                    kind,
                    place,
                });
            }
        }
    }
    let service = Service::start(&config).await;
    let asked = cases.iter().map(|case| {
        let limit = if case.kind == TIMEOUT { 700 } else { 10_000 };
        service.url(&format!("{}?timeout={limit}", case.path))
    });
    let answers = get_all(asked.collect(), 12).await;
    for (case, answer) in cases.iter().zip(&answers) {
        let name = format!("{} {} http={http}", case.fault, case.path);
        check(answer, case.policy, case.kind, case.place, &name);
    }
    // What lingered has ended, and no connection is left when its idle time is over.
    until(|| upstream.counters.requests_open() == 0).await;
    until(|| upstream.counters.connections_open() == 0).await;
}

#[tokio::test]
async fn every_fault_of_http1_has_its_kind_under_every_policy_and_leaves_nothing_open() {
    every_fault_in("1").await;
}

#[tokio::test]
async fn every_fault_of_http2_has_its_kind_under_every_policy_and_leaves_nothing_open() {
    every_fault_in("2").await;
}

#[tokio::test]
async fn a_gather_that_an_upstream_stalls_is_answered_by_its_deadline() {
    let upstream = Upstream::start();
    for http in PROTOCOLS {
        let mut config = upstream.section("lab", "/fault") + &format!("http = \"{http}\"\n");
        let stalling = ["hang/start", "hang/body", "drip/100ms", "endless/body"];
        for fault in stalling {
            config += &format!(
                "[[routes]]\npath = \"/{fault}\"\npolicy = \"first_success\"\n\
                 branches = [{{ name = \"a\", upstream = \"lab\", target = \"/{fault}\" }}, \
                 {{ name = \"b\", upstream = \"lab\", target = \"/hang/start\" }}]\n"
            );
        }
        let service = Service::start(&config).await;
        for fault in stalling {
            for limit in [1, 20, 150] {
                let start = Instant::now();
                let answer = service.get(&format!("/{fault}?timeout={limit}")).await;
                assert_eq!(answer.problem(), "deadline-exceeded", "{fault} {limit}");
                // Generous: what matters is that no fault keeps the answer for seconds.
                assert!(start.elapsed() < Duration::from_millis(limit + 1500));
            }
        }
    }
}

#[tokio::test]
async fn what_broken_replies_held_of_max_buffered_is_given_back() {
    let body = format!("{:?}", "x".repeat(20_000));
    for http in PROTOCOLS {
        let upstream = Upstream::with(&body, Duration::ZERO);
        let faults = [
            "hang/body",
            "hang/end",
            "reset/body",
            "close/end",
            "length/longer",
            "length/shorter",
            "chunked/30000",
        ];
        let mut config = upstream.section("lab", "/")
            + &format!("http = \"{http}\"\nmax_response = \"25000B\"\nlinger = \"0s\"\n");
        config += &route("/good", "all", "lab", "calls = 3");
        for fault in faults {
            let target = format!("/fault/{fault}");
            config += &faulty_route(&format!("/{fault}"), "first_success", [&target; 3]);
        }
        let server = "max_buffered = \"80000B\"";
        let sections = "[rate_limit]\nenabled = false";
        let service = Service::with(server, sections, &config).await;
        for round in 0..6 {
            for fault in faults {
                let answer = service.get(&format!("/{fault}?timeout=60")).await;
                assert_eq!(answer.status, 500, "{fault} round {round}: {answer:?}");
                let good = service.get("/good").await;
                assert_eq!(good.status, 200, "after {fault}, round {round}: {good:?}");
            }
        }
    }
}

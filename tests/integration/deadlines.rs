//! One instant ends every gather, whatever the upstream does.

use std::time::{Duration, Instant};

use crate::harness::{Service, Upstream, client, http1_and_http2, route};
use crate::raw_upstreams::PROTOCOLS;

/// Well below the ten seconds of a route that names no timeout, and of a hanging upstream.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A route of two branches for each of these: path, policy, targets.
fn routes(upstream: &Upstream, section: &str, of: &[(&str, &str, [&str; 2])]) -> String {
    let mut config = upstream.section("lab", "/") + section;
    for (path, policy, targets) in of {
        let [a, b] = targets.map(|target| format!("upstream = \"lab\", target = \"{target}\""));
        config += &format!(
            "[[routes]]\npath = \"{path}\"\npolicy = \"{policy}\"\n\
             branches = [{{ name = \"a\", {a} }}, {{ name = \"b\", {b} }}]\n"
        );
    }
    config
}

#[tokio::test]
async fn a_deadline_ends_a_gather_wherever_its_upstream_hangs() {
    let upstream = Upstream::start();
    let places = [
        ("/start", "/fault/hang/start"),
        ("/head", "/fault/hang/head"),
        ("/body", "/fault/hang/body"),
        ("/end", "/fault/hang/end"),
    ];
    let of = places.map(|(path, target)| (path, "all", [target, target]));
    for http in PROTOCOLS {
        let section = format!("http = \"{http}\"\n");
        let service = Service::start(&routes(&upstream, &section, &of)).await;
        for client in http1_and_http2() {
            // Over HTTP/2 a head is one frame, in which the lab cannot stop.
            for (path, _) in places
                .iter()
                .filter(|place| http == "1" || place.0 != "/head")
            {
                let start = Instant::now();
                let path = format!("{path}?timeout=250");
                let answer = service.ask(&client, "GET", &path, &[]).await;
                assert!(start.elapsed() >= Duration::from_millis(250), "{path}");
                assert!(start.elapsed() < AT_ONCE, "{path} outlasted its deadline");
                assert_eq!(answer.status, 500, "{http} {path} {answer:?}");
                assert_eq!(answer.problem(), "deadline-exceeded");
                assert_eq!(answer.kinds(), ["timeout", "timeout"], "{http} {path}");
                let gather = "total=2, ok=0, failed=2, missing=(\"a\" \"b\")";
                assert_eq!(answer.header("gather"), gather, "{http} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_names_no_timeout_has_its_routes_own() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/fault/hang/end")
        + &route(
            "/all",
            "all",
            "work",
            "timeout = \"300ms\"\nmax_timeout = \"60s\"",
        )
        + &route(
            "/first",
            "first",
            "work",
            "timeout = \"300ms\"\nmax_timeout = \"60s\"",
        );
    let service = Service::start(&config).await;
    for client in http1_and_http2() {
        for path in ["/all", "/first"] {
            let start = Instant::now();
            let answer = service.ask(&client, "GET", path, &[]).await;
            assert!(start.elapsed() >= Duration::from_millis(300), "{path}");
            assert!(start.elapsed() < AT_ONCE, "{path}");
            assert_eq!(
                (answer.status, answer.kinds()[0].as_str()),
                (500, "timeout")
            );
            assert_eq!(answer.problem(), "deadline-exceeded", "{path}");
        }
    }
}

#[tokio::test]
async fn one_instant_ends_a_gather_whose_bytes_keep_coming() {
    let upstream = Upstream::start();
    let slow = "/fault/drip/200ms";
    let service = Service::start(&routes(&upstream, "", &[("/drip", "all", [slow, "/"])])).await;
    let answer = service.get("/drip?timeout=500").await;
    assert_eq!(
        (answer.status, answer.kinds()),
        (500, vec!["timeout".to_owned()])
    );
    assert_eq!(
        answer.header("gather"),
        "total=2, ok=1, failed=1, missing=(\"a\")"
    );
}

#[tokio::test]
async fn a_failure_ends_all_and_first_at_once_whatever_the_other_branch_does() {
    let upstream = Upstream::start();
    let (bad, hang) = ("/fault/status/503", "/fault/hang/start");
    let of = [
        ("/all-one", "all", [bad, hang]),
        ("/all-other", "all", [hang, bad]),
        ("/all-late", "all", ["/fault/hang/end", "/fault/close/body"]),
        ("/all-both", "all", [bad, bad]),
        ("/first-one", "first", [bad, hang]),
        ("/first-other", "first", [hang, bad]),
        ("/first-before-success", "first", ["/fault/delay/5s", bad]),
        ("/first-both", "first", [bad, bad]),
    ];
    let service = Service::start(&routes(&upstream, "", &of)).await;
    for client in http1_and_http2() {
        for (path, _, targets) in &of {
            let start = Instant::now();
            let answer = service.ask(&client, "GET", path, &[]).await;
            assert!(start.elapsed() < Duration::from_secs(4), "{path} waited");
            assert_eq!(answer.status, 500, "{path} {answer:?}");
            assert_eq!(answer.problem(), "gather-failed", "{path}");
            let kind = if targets.contains(&bad) {
                "status"
            } else {
                "reset"
            };
            let kinds = answer.kinds();
            assert!(
                !kinds.is_empty() && kinds.iter().all(|it| it == kind),
                "{path} {kinds:?}"
            );
        }
        let late = service.ask(&client, "GET", "/all-one?timeout=0", &[]).await;
        assert_eq!(late.problem(), "invalid-timeout");
    }
}

#[tokio::test]
async fn first_is_the_first_that_is_done_be_it_good_or_unreachable() {
    let upstream = Upstream::start();
    let nobody = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap()
    };
    let config = upstream.section("lab", "/")
        + &format!("[upstreams.gone]\nurl = \"http://{nobody}/\"\n")
        + "[[routes]]\npath = \"/gone\"\npolicy = \"first\"\nbranches = [\
           { name = \"a\", upstream = \"lab\", target = \"/fault/hang/start\" },\
           { name = \"b\", upstream = \"gone\", target = \"/\" }]\n\
           [[routes]]\npath = \"/good\"\npolicy = \"first\"\nbranches = [\
           { name = \"a\", upstream = \"lab\", target = \"/fault/delay/5s\" },\
           { name = \"b\", upstream = \"lab\", target = \"/\" }]\n";
    let service = Service::start(&config).await;
    let gone = service.get("/gone").await;
    assert_eq!(
        (gone.status, gone.problem().as_str()),
        (500, "gather-failed")
    );
    assert_eq!(gone.kinds(), ["connect"]);
    let good = service.get("/good").await;
    assert_eq!((good.status, good.body.as_str()), (200, r#"{"time":250}"#));
}

#[tokio::test]
async fn as_a_gateway_a_failure_is_502_and_a_deadline_504() {
    let upstream = Upstream::start();
    let hang = "/fault/hang/body";
    let of = [
        ("/failed", "all", ["/fault/status/500", hang]),
        ("/late", "all", [hang, "/"]),
        ("/first-failed", "first", ["/fault/json/bad", hang]),
        ("/first-late", "first", [hang, hang]),
    ];
    let config = routes(&upstream, "", &of);
    let unlimited = "[rate_limit]\nenabled = false";
    let service = Service::with("failure_status = \"gateway\"", unlimited, &config).await;
    for (path, status, problem) in [
        ("/failed", 502, "gather-failed"),
        ("/late?timeout=200", 504, "deadline-exceeded"),
        ("/first-failed", 502, "gather-failed"),
        ("/first-late?timeout=200", 504, "deadline-exceeded"),
        ("/late?timeout=0", 400, "invalid-timeout"),
    ] {
        let answer = service.ask(&client(), "GET", path, &[]).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, problem),
            "{path}"
        );
        assert_eq!(answer.json()["status"], status, "{path}");
    }
}

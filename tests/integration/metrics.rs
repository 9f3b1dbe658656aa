//! `/metrics` and `/status`: what is counted, and what Prometheus' own tools say of it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{Answer, Service, Upstream, client, config_text, route, soon};
use crate::programs::program;

const FREE: &str = "[rate_limit]\nenabled = false";

/// A service with an admin listener, whose routes call `upstream`.
async fn serve(upstream: &Upstream, sections: &str, more: &str) -> Service {
    let rest = [
        sections.to_owned(),
        upstream.section("work", "/"),
        format!(
            "[upstreams.bad]\nurl = \"http://{}/fault/status/503\"\n",
            upstream.addr
        ),
        format!(
            "[upstreams.slow]\nurl = \"http://{}/fault/hang/body\"\nlinger = \"200ms\"\n",
            upstream.addr
        ),
        route("/good", "all", "work", "calls = 2"),
        route("/bad", "all", "bad", "calls = 2"),
        route("/slow", "all", "slow", "calls = 1\ntimeout = \"100ms\""),
        more.to_owned(),
    ];
    let text = config_text("", &rest.join("\n"));
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"";
    Service::of(&text.replace("[admin]\nenabled = false", admin)).await
}

async fn ask_admin(service: &Service, path: &str) -> Answer {
    let admin = service.addrs.admin.expect("it has an admin listener");
    let answer = client().get(format!("http://{admin}{path}")).send();
    Answer::of(soon(answer).await.expect("an answer")).await
}

/// Every series by its name with labels.
async fn scrape(service: &Service) -> BTreeMap<String, f64> {
    let text = ask_admin(service, "/metrics").await.body;
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    series.map(parse).collect()
}

fn requests(route: &str, class: &str) -> String {
    format!("gatherd_requests_total{{policy=\"all\",route=\"{route}\",status_class=\"{class}\"}}")
}

/// Scrapes until `condition` holds.
async fn eventually(service: &Service, condition: impl Fn(&BTreeMap<String, f64>) -> bool) {
    soon(async {
        while !condition(&scrape(service).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_becomes_of_requests_branches_and_calls_is_counted_and_gauges_go_back_to_zero() {
    let upstream = Upstream::start();
    let service = serve(&upstream, FREE, "").await;
    assert_eq!(service.get("/good").await.status, 200);
    assert_eq!(service.get("/bad").await.status, 500);
    assert_eq!(service.get("/slow").await.status, 500);
    assert_eq!(service.get("/good?timeout=0").await.status, 400);
    assert_eq!(service.get("/nowhere").await.status, 404);
    eventually(&service, |seen| {
        seen["gatherd_upstream_calls{state=\"lingering\",upstream=\"slow\"}"] == 0.0
            && seen["gatherd_gathers_in_flight"] == 0.0
            && seen[&requests("/good", "4xx")] == 1.0
            && seen["gatherd_connections{state=\"active\"}"] == 0.0
    })
    .await;
    let seen = scrape(&service).await;
    let branches = |upstream: &str, outcome: &str| {
        seen[&format!("gatherd_branches_total{{outcome=\"{outcome}\",upstream=\"{upstream}\"}}")]
    };
    assert_eq!(seen[&requests("/good", "2xx")], 1.0);
    assert_eq!(seen[&requests("/bad", "5xx")], 1.0);
    assert_eq!(seen[&requests("/slow", "5xx")], 1.0);
    assert_eq!(
        seen["gatherd_requests_total{policy=\"none\",route=\"none\",status_class=\"4xx\"}"],
        1.0
    );
    assert_eq!(branches("work", "ok"), 2.0);
    assert!(branches("bad", "status") >= 1.0);
    assert_eq!(branches("slow", "timeout"), 1.0);
    assert_eq!(
        seen["gatherd_upstream_requests_total{upstream=\"work\"}"],
        2.0
    );
    assert_eq!(
        seen["gatherd_branch_duration_seconds_count{upstream=\"slow\"}"],
        1.0
    );
    assert_eq!(
        seen["gatherd_request_duration_seconds_count{policy=\"all\",route=\"/good\"}"],
        1.0
    );
    assert!(seen["gatherd_handshakes_total{result=\"completed\"}"] >= 1.0);
    for (name, value) in &seen {
        let is_of_now =
            name.starts_with("gatherd_upstream_calls{") || name == "gatherd_buffered_bytes";
        assert!(!is_of_now || *value == 0.0, "{name} {value}");
    }
}

#[tokio::test]
async fn refusals_are_counted_by_the_limit_that_refuses() {
    let upstream = Upstream::start();
    let limit = "[rate_limit]\nrequests_per_second = 0.001\nburst = 2";
    let off = route(
        "/off",
        "all",
        "work",
        "enabled = false\nrate_limit = { enabled = false }",
    );
    let service = serve(&upstream, limit, &off).await;
    for expected in [200, 200, 429, 429] {
        assert_eq!(service.get("/good").await.status, expected);
    }
    assert_eq!(service.get("/off").await.status, 503);
    let seen = scrape(&service).await;
    assert_eq!(
        seen["gatherd_refusals_total{limit=\"requests_per_second\"}"],
        2.0
    );
    assert_eq!(seen["gatherd_refusals_total{limit=\"enabled\"}"], 1.0);
    eventually(&service, |seen| seen["gatherd_clients_tracked"] == 1.0).await;
}

#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let upstream = Upstream::start();
    let service = serve(&upstream, FREE, "").await;
    service.get("/good").await;
    eventually(&service, |seen| seen["process_resident_memory_bytes"] > 0.0).await;
    let text = ask_admin(&service, "/metrics").await.body;
    let mut child = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(text.as_bytes()).await.expect("it reads");
    drop(stdin);
    let said = soon(child.wait_with_output()).await.expect("it ends");
    assert!(
        said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(),
        "{said:?}"
    );
}

#[tokio::test]
async fn the_alert_rules_are_sound_and_tell_what_they_should() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let mut command = Command::new(&promtool);
        command.args(arguments).current_dir("deploy/prometheus");
        let said = soon(command.output()).await.expect("promtool runs");
        assert!(said.status.success(), "{said:?}");
    }
    // A rule about a metric that is not there is silent for ever.
    let upstream = Upstream::start();
    // Nobody listens there; that is enough for what is counted of a shared limit to be shown.
    let shared = "[rate_limit.shared]\nurl = \"redis://127.0.0.1:1\"";
    let service = serve(&upstream, shared, "").await;
    service.get("/good").await;
    eventually(&service, |seen| seen["process_resident_memory_bytes"] > 0.0).await;
    let seen = scrape(&service).await;
    let rules = std::fs::read_to_string("deploy/prometheus/alerts.yml").expect("the rules");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = rules
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("gatherd_") || word.starts_with("process_"));
    for name in names {
        let is_there = seen
            .keys()
            .any(|series| series.split('{').next() == Some(name));
        assert!(is_there, "{name}");
    }
}

#[tokio::test]
async fn the_status_says_where_the_trouble_is() {
    let upstream = Upstream::start();
    let service = serve(&upstream, FREE, "").await;
    for _ in 0..20 {
        assert_eq!(service.get("/good").await.status, 200);
        assert_eq!(service.get("/bad").await.status, 500);
    }
    let told = soon(async {
        loop {
            let answer = ask_admin(&service, "/status.json").await;
            if answer.status == 200 && answer.json()["status"]["health"] == "trouble" {
                break answer.json();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let findings = told["status"]["findings"]
        .as_array()
        .expect("findings")
        .clone();
    let subjects: Vec<_> = findings
        .iter()
        .filter_map(|one| one["subject"].as_str())
        .collect();
    assert!(subjects.contains(&"route /bad"), "{subjects:?}");
    assert!(subjects.contains(&"upstream bad"), "{subjects:?}");
    assert!(!subjects.contains(&"route /good"), "{subjects:?}");
    let text = ask_admin(&service, "/status").await.body;
    assert!(text.starts_with("Trouble"), "{text}");
    assert!(text.contains("status"), "the kind of failure: {text}");
    assert_eq!(told["status"]["clients"][0]["client"], "127.0.0.1");
    let addresses = &told["status"]["upstreams"][0]["addresses"];
    let shown = addresses[0].as_str().expect("an address");
    assert!(shown.starts_with("127.0.0.1:"), "{addresses}");
}

#[tokio::test]
async fn a_scrape_is_answered_while_requests_come_in_crowds() {
    let upstream = Upstream::start();
    let service = serve(&upstream, FREE, "").await;
    let client = client();
    let url = service.url("/good");
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let _ = client.get(&url).send().await;
                }
            })
        })
        .collect();
    let start = Instant::now();
    let seen = scrape(&service).await;
    // Generous: the machine of a test is busy with other tests.
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(seen.len() > 100, "{}", seen.len());
    for one in crowd {
        one.await.expect("no panic");
    }
}

//! `[routes.cache]`: what identical requests share, and what they never share.

use std::time::Duration;

use crate::harness::{Answer, Service, Upstream, client, until};
use crate::raw_upstreams::get_all;

const CACHE_STATUS: &str = "cache-status";

/// A route at `/q` that passes on a parameter and a header, with a cache.
async fn service(upstream: &Upstream, target: &str, cache: &str) -> Service {
    let config = upstream.section("work", "/")
        + &format!(
            "[[routes]]\npath = \"/q\"\npolicy = \"all\"\nbranches = [\n\
             {{ name = \"a\", upstream = \"work\", target = \"{target}\", forward_query = [\"q\"], forward_headers = [\"authorization\"] }},\n\
             {{ name = \"b\", upstream = \"work\", target = \"{target}\" }} ]\n\
             [routes.cache]\n{cache}\n"
        );
    let server = "max_in_flight_per_client = 2000";
    Service::with(server, "[rate_limit]\nenabled = false", &config).await
}

#[tokio::test]
async fn identical_requests_at_once_share_the_calls_of_one() {
    let upstream = Upstream::start();
    let service = service(&upstream, "/fault/delay/1s", "max_age = \"0s\"").await;
    let urls = vec![service.url("/q"); 90];
    let answers = get_all(urls, 90).await;
    let mut collapsed = 0;
    for answer in &answers {
        let seen = (answer.status, answer.body.as_str());
        assert_eq!(seen, (200, r#"[{"time":250},{"time":250}]"#));
        assert_eq!(answer.header("gather"), "total=2, ok=2, failed=0");
        collapsed += usize::from(answer.header(CACHE_STATUS) == "gatherd; fwd=miss; collapsed");
    }
    assert_eq!((collapsed, upstream.counters.requests()), (89, 2));
    // Nothing is kept.
    assert_eq!(
        service.get("/q").await.header(CACHE_STATUS),
        "gatherd; fwd=miss"
    );
    assert_eq!(upstream.counters.requests(), 4);
}

#[tokio::test]
async fn different_values_of_what_is_forwarded_never_share() {
    let upstream = Upstream::start();
    let service = service(&upstream, "/", "max_age = \"1m\"").await;
    let ask = async |path: &str, token: Option<&str>| -> String {
        let headers: Vec<_> = token
            .map(|token| ("authorization", token))
            .into_iter()
            .collect();
        let answer = service.ask(&client(), "GET", path, &headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header(CACHE_STATUS).to_owned()
    };
    let different = [
        ("/q", None),
        ("/q?q=1", None),
        ("/q?q=2", None),
        ("/q?q=", None),
        ("/q", Some("Bearer one")),
        ("/q", Some("Bearer two")),
        ("/q?q=1", Some("Bearer one")),
    ];
    for (path, token) in different {
        let status = ask(path, token).await;
        assert_eq!(status, "gatherd; fwd=miss; stored", "{path} {token:?}");
    }
    assert_eq!(upstream.counters.requests(), 2 * different.len() as u64);
    for (path, token) in different {
        let status = ask(path, token).await;
        assert!(status.starts_with("gatherd; hit; ttl="), "{status}");
    }
    // What is not forwarded makes no difference, and neither does the method.
    let answer = service
        .ask(
            &client(),
            "HEAD",
            "/q?other=1&timeout=900",
            &[("x-other", "1")],
        )
        .await;
    assert!(
        answer.header(CACHE_STATUS).starts_with("gatherd; hit"),
        "{answer:?}"
    );
    assert_eq!(upstream.counters.requests(), 2 * different.len() as u64);
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_says_its_age() {
    let upstream = Upstream::start();
    let service = service(&upstream, "/", "max_age = \"1200ms\"").await;
    let first = service.get("/q").await;
    assert_eq!(first.header(CACHE_STATUS), "gatherd; fwd=miss; stored");
    assert!(!first.headers.contains_key("age"));
    let kept = service.get("/q").await;
    assert_eq!((kept.status, &kept.body), (200, &first.body));
    assert_eq!(kept.header(CACHE_STATUS), "gatherd; hit; ttl=1");
    assert_eq!(kept.header("age"), "0");
    assert_eq!(upstream.counters.requests(), 2);
    let mut last = kept;
    while upstream.counters.requests() == 2 {
        last = service.get("/q").await;
    }
    assert_eq!(last.header(CACHE_STATUS), "gatherd; fwd=miss; stored");
}

#[tokio::test]
async fn failures_are_shared_by_those_who_wait_and_never_kept() {
    let upstream = Upstream::start();
    let target = "/fault/status/503?delay=300ms";
    let service = service(&upstream, target, "max_age = \"1m\"").await;
    let answers = get_all(vec![service.url("/q"); 20], 20).await;
    for answer in &answers {
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (500, "gather-failed")
        );
    }
    assert_eq!(upstream.counters.requests(), 2);
    assert_eq!(
        service.get("/q").await.header(CACHE_STATUS),
        "gatherd; fwd=miss"
    );
    assert_eq!(upstream.counters.requests(), 4);
}

#[tokio::test]
async fn the_first_one_that_leaves_hurts_nobody_and_each_has_its_own_deadline() {
    let upstream = Upstream::start();
    let service = service(&upstream, "/fault/delay/600ms", "max_age = \"0s\"").await;
    let leaver = tokio::spawn({
        let url = service.url("/q");
        async move { client().get(url).send().await }
    });
    until(|| upstream.counters.requests() == 2).await;
    let hasty = async {
        let answer = service.get("/q?timeout=50").await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (500, "deadline-exceeded")
        );
        assert_eq!(
            answer.header("gather"),
            "total=2, ok=0, failed=2, missing=(\"a\" \"b\")"
        );
        assert_eq!(answer.kinds(), ["timeout", "timeout"]);
        leaver.abort();
    };
    let (patient, ()): (Answer, ()) = tokio::join!(service.get("/q"), hasty);
    assert_eq!(patient.status, 200, "{patient:?}");
    assert_eq!(patient.header(CACHE_STATUS), "gatherd; fwd=miss; collapsed");
    assert_eq!(upstream.counters.requests(), 2);
}

#[tokio::test]
async fn available_answers_at_its_own_deadline_with_what_is_there() {
    let upstream = Upstream::with("1", Duration::ZERO);
    let config = upstream.section("work", "/")
        + "[[routes]]\npath = \"/some\"\npolicy = \"available\"\nbranches = [\n\
           { name = \"quick\", upstream = \"work\", target = \"/\" },\n\
           { name = \"slow\", upstream = \"work\", target = \"/fault/delay/700ms\" } ]\n\
           [routes.cache]\nmax_age = \"1m\"\n";
    let service = Service::start(&config).await;
    let (hasty, patient) = tokio::join!(
        service.get("/some?timeout=200"),
        service.get("/some?timeout=9000")
    );
    assert_eq!(
        (hasty.status, hasty.body.as_str()),
        (200, "[1]"),
        "{hasty:?}"
    );
    assert_eq!(
        hasty.header("gather"),
        "total=2, ok=1, failed=1, missing=(\"slow\")"
    );
    assert_eq!((patient.status, patient.body.as_str()), (200, "[1,1]"));
    assert_eq!(upstream.counters.requests(), 2);
    let kept = service.get("/some").await;
    assert_eq!(kept.body, "[1,1]");
    assert_eq!(upstream.counters.requests(), 2);
}

use serde_json::Value;

use super::*;
use crate::config::MockSettings;
use crate::mock::script::Script;

fn default_reply() -> DefaultReply {
    DefaultReply::new(&MockSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        body: r#"{"time":250}"#.into(),
        delay: (Duration::ZERO..=Duration::ZERO).into(),
        failure_rate: 0.0,
    })
}

fn ask<'a>(target: &'a str, headers: &[(&'a str, &'a [u8])]) -> Answer {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let asked = Asked {
        method: "GET",
        path,
        query,
    };
    answer(&asked, headers.iter().copied(), &default_reply())
}

fn reply_to(target: &str) -> Reply {
    match ask(target, &[]) {
        Answer::Reply(reply) => reply,
        other => panic!("{target}: {other:?}"),
    }
}

async fn body_of(reply: Reply) -> Vec<u8> {
    let mut script = Script::new(reply.body);
    let mut all = Vec::new();
    while let Some(Ok(bytes)) = script.next().await {
        all.extend_from_slice(&bytes);
    }
    all
}

#[test]
fn every_path_of_the_help_is_known() {
    for (path, _) in FAULTS {
        let path = path
            .replace("CODE", "503")
            .replace("DELAY", "1ms..2ms")
            .replace("PLACE", "head")
            .replace("SIZE", "1KiB")
            .replace("DEPTH", "200")
            .replace("/N", "/2");
        let known = !matches!(ask(&path, &[]), Answer::Reply(Reply { status: 404, .. }));
        assert!(known, "{path}");
        assert!(!matches!(ask(&path, &[]), Answer::Default), "{path}");
    }
}

#[test]
fn what_is_misspelt_is_404_and_not_a_fault_that_never_comes() {
    for path in [
        "/fault/",
        "/fault/stauts/503",
        "/fault/status/99",
        "/fault/status/1000",
        "/fault/status/",
        "/fault/delay/5",
        "/fault/drip/0ms",
        "/fault/hang/tail",
        "/fault/leave/0",
        "/fault/json/deep/99999999999",
        "/fault/size/-1",
        "/fault/garbage?delay=never",
        "/fault/stale/1?delay=1ms",
    ] {
        assert_eq!(reply_to(path).status, 404, "{path}");
    }
}

#[test]
fn a_path_outside_has_the_default_reply() {
    assert!(matches!(ask("/", &[]), Answer::Default));
    assert!(matches!(
        ask("/api/work?x=/fault/bye", &[]),
        Answer::Default
    ));
}

#[test]
fn a_status_without_a_body_has_none() {
    for status in [101, 204, 304] {
        let reply = reply_to(&format!("/fault/status/{status}"));
        assert_eq!((reply.framing, reply.body), (Framing::Bodiless, vec![]));
    }
    assert!(
        reply_to("/fault/status/302")
            .headers
            .contains(&("location", "/"))
    );
}

#[tokio::test]
async fn a_sized_body_is_json_of_exactly_that_size() {
    for size in [1, 2, 3, 16_385, 16_386, 16_387, 100_000] {
        let body = body_of(reply_to(&format!("/fault/size/{size}"))).await;
        assert_eq!(body.len(), size);
        serde_json::from_slice::<Value>(&body).unwrap();
    }
    assert_eq!(
        body_of(reply_to("/fault/chunked/1MiB")).await.len(),
        1 << 20
    );
    assert_eq!(body_of(reply_to("/fault/size/0")).await, b"");
}

#[tokio::test]
async fn broken_json_is_not_json() {
    for which in ["bad", "two", "not-utf8", "empty", "deep/200"] {
        let body = body_of(reply_to(&format!("/fault/json/{which}"))).await;
        assert!(serde_json::from_slice::<Value>(&body).is_err(), "{which}");
    }
}

#[tokio::test]
async fn an_echo_tells_what_was_asked() {
    let headers: [(&str, &[u8]); 3] = [("Host", b"a"), ("X-One", b"1"), ("x-one", b"2")];
    let Answer::Reply(reply) = ask("/fault/echo/users/1?lang=en", &headers) else {
        panic!("no reply");
    };
    let echo: Value = serde_json::from_slice(&body_of(reply).await).unwrap();
    let expected = json!({
        "method": "GET",
        "path": "/fault/echo/users/1",
        "query": "lang=en",
        "headers": { "host": "a", "x-one": "1, 2" },
    });
    assert_eq!(echo, expected);
}

#[test]
fn a_delay_in_the_query_comes_before_any_fault() {
    let pause = Step::Pause(Duration::from_millis(7));
    let reply = reply_to("/fault/status/503?a=b&delay=7ms");
    assert_eq!(reply.before.as_slice(), std::slice::from_ref(&pause));
    let Answer::Raw(steps) = ask("/fault/garbage?delay=7ms", &[]) else {
        panic!("not raw");
    };
    assert_eq!(steps.first(), Some(&pause));
}

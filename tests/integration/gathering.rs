//! `all` and `first`, as the system replaced documents them.

use crate::harness::{Service, Upstream, route};

#[tokio::test]
async fn all_answers_every_reply_and_first_answers_one() {
    let upstream = Upstream::start();
    let config = [
        upstream.section("work", "/"),
        route("/api/all", "all", "work", ""),
        route("/api/first", "first", "work", ""),
    ];
    let service = Service::start(&config.concat()).await;
    let all = service.get("/api/all").await;
    assert_eq!(
        (all.status, all.body.as_str()),
        (200, r#"[{"time":250},{"time":250}]"#)
    );
    assert_eq!(all.header("gather"), "total=2, ok=2, failed=0");
    let first = service.get("/api/first").await;
    assert_eq!(
        (first.status, first.body.as_str()),
        (200, r#"{"time":250}"#)
    );
}

#[tokio::test]
async fn a_failed_branch_fails_all_at_once_with_its_kind() {
    let upstream = Upstream::start();
    let config = [
        upstream.section("good", "/"),
        upstream.section("bad", "/fault/status"),
        "[[routes]]\npath = \"/api/all\"\npolicy = \"all\"\n\
         branches = [{ name = \"a\", upstream = \"good\", target = \"/fault/hang/start\" },\
                     { name = \"b\", upstream = \"bad\" , target = \"/503\" }]\n"
            .to_owned(),
    ];
    let service = Service::start(&config.concat()).await;
    let answer = service.get("/api/all").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (500, "gather-failed")
    );
    assert_eq!(
        answer.header("gather"),
        "total=2, ok=0, failed=1, missing=(\"b\")"
    );
    let failed = &answer.json()["branches"][0];
    assert_eq!(
        (&failed["branch"], &failed["kind"], &failed["status"]),
        (&"b".into(), &"status".into(), &503.into())
    );
}

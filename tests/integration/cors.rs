//! What pages of other origins may read.

use crate::answers::{ANSWERS, UNLIMITED, config};
use crate::harness::{Service, Upstream, client, http1_and_http2};

#[tokio::test]
async fn pages_of_allowed_origins_may_read_every_answer_errors_too() {
    let upstream = Upstream::start();
    let config = config(&upstream);
    let app = "https://app.example.com";
    let any = Service::with("cors_allow_origins = [\"*\"]", UNLIMITED, &config).await;
    let list = format!("cors_allow_origins = [\"https://other.example.com\", \"{app}\"]");
    let listed = Service::with(&list, UNLIMITED, &config).await;
    for (method, path, status, _) in ANSWERS {
        let origin = [("origin", app)];
        let answer = any.ask(&client(), method, path, &origin).await;
        assert_eq!(answer.status, *status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let answer = listed.ask(&client(), method, path, &origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), app);
        for headers in [&[("origin", "https://evil.example")][..], &origin, &[]] {
            let answer = listed.ask(&client(), method, path, headers).await;
            let vary = answer.header("vary").to_lowercase();
            assert!(vary.contains("origin"), "{method} {path} {vary}");
            let is_allowed = answer.headers.contains_key("access-control-allow-origin");
            assert_eq!(is_allowed, headers == origin, "{method} {path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_and_calls_nobody() {
    let upstream = Upstream::start();
    let origins = "cors_allow_origins = [\"https://app.example.com\"]";
    let service = Service::with(origins, UNLIMITED, &config(&upstream)).await;
    let asks = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "GET"),
    ];
    for client in http1_and_http2() {
        let answer = service.ask(&client, "OPTIONS", "/all", &asks).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (204, ""),
            "{answer:?}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), asks[0].1);
        assert!(
            answer
                .header("access-control-allow-methods")
                .contains("GET")
        );
        assert!(!answer.header("x-request-id").is_empty());
        let stranger = [("origin", "https://evil.example"), asks[1]];
        let answer = service.ask(&client, "OPTIONS", "/all", &stranger).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        for part in [&asks[..1], &asks[1..], &[]] {
            let answer = service.ask(&client, "OPTIONS", "/all", part).await;
            assert_eq!(answer.problem(), "method-not-allowed", "{part:?}");
        }
    }
    assert_eq!(upstream.counters.requests(), 0);
}

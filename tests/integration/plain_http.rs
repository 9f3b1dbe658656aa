//! The plain-HTTP listeners, and the health path of the public ones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, Service, Upstream, client, client_builder, route, soon};

const FREE: &str = "[rate_limit]\nenabled = false";
const LIMITED: &str = "[rate_limit]\nrequests_per_second = 1\nburst = 1";

/// A service with a plain-HTTP listener, before an upstream that answers at once.
async fn service(server: &str, sections: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let routes = [
        upstream.section("work", "/"),
        route("/a", "all", "work", "calls = 2"),
    ];
    let server = format!("http = [\"127.0.0.1:0\"]\n{server}");
    (
        Service::with(&server, sections, &routes.concat()).await,
        upstream,
    )
}

/// What is answered to these bytes, until the connection ends.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer))
        .await
        .expect("text");
    answer
}

async fn get(url: String) -> Answer {
    Answer::of(soon(client().get(url).send()).await.expect("an answer")).await
}

#[tokio::test]
async fn plain_http_is_sent_to_the_same_place_over_https() {
    let (service, _upstream) = service("", FREE).await;
    let plain = client_builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let url = format!(
        "http://localhost:{}/a?timeout=5000",
        service.addrs.http[0].port()
    );
    let redirect = Answer::of(soon(plain.get(&url).send()).await.expect("an answer")).await;
    assert_eq!((redirect.status, redirect.body.as_str()), (308, ""));
    assert_eq!(redirect.header("location"), service.url("/a?timeout=5000"));
    redirect.header("x-request-id");
    let followed = get(url).await;
    assert_eq!(
        (followed.status, followed.version),
        (200, reqwest::Version::HTTP_2)
    );
}

#[tokio::test]
async fn a_redirect_needs_a_valid_host_and_goes_nowhere_else() {
    let (service, _upstream) = service("", FREE).await;
    let address = service.addrs.http[0];
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a@evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: evil.example/x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let answer = raw(address, request).await;
        assert!(
            answer.starts_with("HTTP/1.") && answer[9..].starts_with("400"),
            "{request:?}: {answer}"
        );
        assert!(!answer.contains("location:"), "{answer}");
    }
    let answer = raw(
        address,
        "GET //evil.example/x HTTP/1.0\r\nhost: a.example\r\n\r\n",
    )
    .await;
    let port = service.addrs.https[0].port();
    let location = format!("location: https://a.example:{port}//evil.example/x\r\n");
    assert!(answer.contains(&location), "{answer}");
}

#[tokio::test]
async fn plain_http_serves_when_told_to_and_needs_no_certificate_then() {
    let upstream = Upstream::start();
    let routes = [
        upstream.section("work", "/"),
        route("/a", "all", "work", "calls = 2"),
    ];
    let text = format!(
        "[server]\nhttps = []\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
         [admin]\nenabled = false\n{FREE}\n{}",
        routes.concat()
    );
    let service = Service::of(&text).await;
    let answer = get(format!("http://{}/a", service.addrs.http[0])).await;
    assert_eq!(
        (answer.status, answer.version),
        (200, reqwest::Version::HTTP_11)
    );
    assert_eq!(answer.body, r#"[{"time":250},{"time":250}]"#);
}

#[tokio::test]
async fn plain_http_has_the_limits_of_https() {
    let (service, _upstream) = service("header_timeout = \"200ms\"", LIMITED).await;
    let address = service.addrs.http[0];
    // A head that does not end.
    assert_eq!(raw(address, "GET / HTTP/1.1\r\nhost: a\r\n").await, "");
    let ask = || raw(address, "GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let (first, second) = (ask().await, ask().await);
    assert!(first.contains(" 308 "), "{first}");
    assert!(second.contains(" 429 "), "{second}");
}

#[tokio::test]
async fn the_health_path_answers_on_every_public_listener_and_is_not_limited() {
    let (service, upstream) = service("health_path = \"/healthz\"", LIMITED).await;
    for _ in 0..3 {
        let plain = get(format!("http://{}/healthz", service.addrs.http[0])).await;
        let https = service.get("/healthz").await;
        for answer in [plain, https] {
            assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        }
    }
    let post = service.ask(&client(), "POST", "/healthz", &[]).await;
    assert_eq!(post.status, 405);
    assert_eq!(upstream.counters.requests(), 0);
}

/// Probes over as many connections, one right after the other on each.
async fn flood(service: &Service, connections: usize, probes: usize) -> Duration {
    let begun = Instant::now();
    let one = async || {
        let client = client();
        for _ in 0..probes {
            assert_eq!(
                service.ask(&client, "GET", "/healthz", &[]).await.status,
                200
            );
        }
    };
    futures_util::future::join_all((0..connections).map(|_| one())).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_flood_of_probes_takes_tokens_and_without_any_it_takes_the_time_of_refusals() {
    let health_path = "health_path = \"/healthz\"";
    let (limited, _upstream) = service(health_path, LIMITED).await;
    // A refusal leaves every 400 µs, so 1,000 take 0.4 seconds.
    let took = flood(&limited, 20, 51).await;
    assert!(took >= Duration::from_millis(350), "{took:?}");
    let (ample, _upstream) = service(
        health_path,
        "[rate_limit]\nrequests_per_second = 0.01\nburst = 10",
    )
    .await;
    flood(&ample, 1, 30).await;
    assert_eq!(ample.get("/a").await.status, 429);
}

#[tokio::test]
async fn answers_of_challenges_are_given_over_plain_http_alone_and_nothing_else_of_the_directory() {
    for mode in ["http_mode = \"redirect\"", "http_mode = \"serve\""] {
        let server = format!("acme_webroot = \"webroot\"\n{mode}");
        let (service, _upstream) = service(&server, FREE).await;
        let below = service
            .directory
            .path()
            .join("webroot/.well-known/acme-challenge");
        std::fs::create_dir_all(below.join("directory")).expect("a directory");
        std::fs::write(below.join("token_1"), "token_1.digest").expect("a file");
        std::fs::write(below.join("large"), "x".repeat(1025)).expect("a file");
        std::fs::write(below.join("..").join("secret"), "secret").expect("a file");
        let address = service.addrs.http[0];
        let ask = async |method: &str, path: &str| {
            let head =
                format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
            raw(address, &head).await
        };
        let token = "/.well-known/acme-challenge/token_1";
        let answer = ask("GET", token).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntoken_1.digest"), "{answer}");
        assert!(ask("HEAD", token).await.ends_with("\r\n\r\n"));
        assert!(ask("POST", token).await.starts_with("HTTP/1.1 405 "));
        for absent in ["absent", "large", "directory"] {
            let answer = ask("GET", &format!("/.well-known/acme-challenge/{absent}")).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{absent}: {answer}");
        }
        for other in [
            "../secret",
            "%2e%2e/secret",
            "..%2fsecret",
            "token_1/../../secret",
        ] {
            let answer = ask("GET", &format!("/.well-known/acme-challenge/{other}")).await;
            assert!(!answer.starts_with("HTTP/1.1 200 "), "{other}: {answer}");
            assert!(!answer.ends_with("secret"), "{other}: {answer}");
        }
        assert_eq!(service.get(token).await.status, 404, "not over HTTPS");
    }
}

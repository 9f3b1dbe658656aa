use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::time::Instant;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::guard::Peer;
use super::*;

async fn ask(readiness: &Readiness, peer: Peer, request: Request<Body>) -> Response {
    let feed = Arc::new(Feed::new(Timeline::open(None, 0.0)));
    let router = routes::router(readiness.clone(), Metrics::new(), feed).layer(Extension(peer));
    router.oneshot(request).await.unwrap()
}

fn get(path: &str, host: &str) -> Request<Body> {
    Request::get(path)
        .header("host", host)
        .body(Body::empty())
        .unwrap()
}

async fn json(response: Response) -> serde_json::Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

fn drain(readiness: &Readiness) {
    readiness.drain(tokio::time::Instant::now());
}

#[tokio::test]
async fn it_is_alive_from_the_start_and_ready_when_told() {
    let readiness = Readiness::new();
    for (enter, status, word) in [
        (None, 503, "starting"),
        (Some(Readiness::ready as fn(&Readiness)), 200, "ready"),
        (Some(drain), 503, "draining"),
    ] {
        enter.into_iter().for_each(|enter| enter(&readiness));
        let live = ask(&readiness, Peer::Welcome, get("/livez", "localhost")).await;
        assert_eq!(live.status(), 200);
        assert_eq!(json(live).await, serde_json::json!({ "status": "alive" }));
        let ready = ask(&readiness, Peer::Welcome, get("/readyz", "localhost")).await;
        assert_eq!(ready.status(), status);
        assert_eq!(ready.headers()["content-type"], "application/json");
        let ready = json(ready).await;
        assert_eq!(ready["status"], word);
        assert_eq!(ready["reason"].is_string(), status == 503);
    }
}

#[tokio::test]
async fn whatever_else_is_asked_is_a_problem_that_is_not_cached() {
    let readiness = Readiness::new();
    let post = Request::post("/livez")
        .header("host", "[::1]:9180")
        .body(Body::empty())
        .unwrap();
    let nameless = Request::get("/livez").body(Body::empty()).unwrap();
    let absolute = get("http://evil.example/livez", "localhost");
    for (peer, request, status) in [
        (
            Peer::Welcome,
            get("/nowhere", "127.0.0.1:9180"),
            StatusCode::NOT_FOUND,
        ),
        (Peer::Welcome, post, StatusCode::METHOD_NOT_ALLOWED),
        (
            Peer::Welcome,
            get("/livez", "evil.example"),
            StatusCode::MISDIRECTED_REQUEST,
        ),
        (Peer::Welcome, nameless, StatusCode::MISDIRECTED_REQUEST),
        (Peer::Welcome, absolute, StatusCode::MISDIRECTED_REQUEST),
        (
            Peer::Stranger,
            get("/livez", "localhost"),
            StatusCode::FORBIDDEN,
        ),
        (
            Peer::Stranger,
            get("/nowhere", "evil.example"),
            StatusCode::FORBIDDEN,
        ),
    ] {
        let response = ask(&readiness, peer, request).await;
        assert_eq!(response.status(), status);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(
            headers.contains_key("allow"),
            status == StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(json(response).await["status"], status.as_u16());
    }
}

fn started() -> (SocketAddr, AdminThread) {
    let settings = AdminSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        allow: vec![],
        state_directory: None,
    };
    let admin = bind(&settings, None).unwrap();
    (
        admin.local_addr(),
        admin.start(Readiness::new(), Metrics::new()).unwrap(),
    )
}

fn read_all(mut stream: BlockingStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn it_answers_on_a_thread_of_its_own_one_request_a_connection() {
    let (address, thread) = started();
    let mut stream = BlockingStream::connect(address).unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let text = read_all(stream);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("connection: close\r\n"), "{text}");
    thread.stop("told to stop");
    assert!(BlockingStream::connect(address).is_err());
}

#[test]
fn silent_connections_hold_only_their_places_and_do_not_delay_the_stop() {
    let (address, thread) = started();
    let silent: Vec<_> = (0..MAX_CONNECTIONS)
        .map(|_| BlockingStream::connect(address).unwrap())
        .collect();
    let one_more = BlockingStream::connect(address).unwrap();
    assert_eq!(read_all(one_more), "");
    let start = Instant::now();
    drop(thread);
    assert!(start.elapsed() < STOP_TIMEOUT);
    drop(silent);
}

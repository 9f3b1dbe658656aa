//! Clients that take their answers slowly, or not at all.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::interval;

use crate::edge_client::{Tls, is_closed, tls, tls_over};
use crate::harness::{Service, Upstream, client_builder, route, soon, until, until_async};

/// The end of the client's preface and its SETTINGS: streams begin with a window of so many bytes.
fn preface(window: u8) -> Vec<u8> {
    let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, window];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat()
}

/// :method GET, :scheme https, :path of four bytes, :authority x (RFC 7541 appendix A), as the whole
/// request of stream 1.
fn request(path: &[u8; 4]) -> Vec<u8> {
    let head = [b"\x82\x87\x44\x04".as_slice(), path, b"\x41\x01x"].concat();
    [[0, 0, 11, 1, 5, 0, 0, 0, 1].as_slice(), &head].concat()
}

/// WINDOW_UPDATE of stream 1 by one byte.
const ONE_BYTE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1];

/// `/big` answers with 16 MB, `/mega` with 1 MB, `/one` with 14 bytes.
async fn service() -> (Service, Upstream) {
    service_with("write_timeout = \"500ms\"").await
}

async fn service_with(server: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + &upstream.section("large", "/fault/size/1000000")
        + "max_response = \"2MiB\"\n"
        + &route("/one", "all", "work", "calls = 1")
        + &route("/mega", "all", "large", "calls = 1")
        + &route("/big", "all", "large", "calls = 16");
    let unlimited = "[rate_limit]\nenabled = false\n";
    let service = Service::with(server, unlimited, &config).await;
    (service, upstream)
}

async fn get_big(service: &Service) -> Tls {
    get_big_over(tls(service, "http/1.1").await.unwrap()).await
}

async fn get_big_over(stream: Tls) -> Tls {
    get_over(stream, "/big").await
}

async fn get_over(mut stream: Tls, path: &str) -> Tls {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// A connection whose kernel holds little that its client has not taken.
async fn small(service: &Service) -> Tls {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(service.addrs.https[0]).await.unwrap();
    tls_over(service, stream, "http/1.1").await.unwrap()
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_closed() {
    let (service, _upstream) = service().await;
    let mut slow = get_big(&service).await;
    for (path, window) in [(b"/big", 0), (b"/one", 0), (b"/one", 1), (b"/big", 1)] {
        let mut shut = tls(&service, "h2").await.unwrap();
        shut.write_all(&[preface(window), request(path)].concat())
            .await
            .unwrap();
        assert!(is_closed(&mut shut).await, "{path:?} {window}");
    }
    // What was sent before is still in the socket's buffers; then comes the end.
    let mut taken = Vec::new();
    let _ = soon(slow.read_to_end(&mut taken)).await;
    assert!(taken.len() < 16_000_000, "{}", taken.len());
}

#[tokio::test]
async fn the_time_of_a_response_is_not_longer_because_another_limit_comes_first() {
    let server = "header_timeout = \"3s\"\nwrite_timeout = \"4s\"\nmax_in_flight_per_client = 1";
    let (service, _upstream) = service_with(server).await;
    let slow = small(&service).await;
    let begun = Instant::now();
    let _slow = get_big_over(slow).await;
    until_async(async || service.get("/one").await.status == 429).await;
    until_async(async || service.get("/one").await.status == 200).await;
    let held = begun.elapsed();
    assert!(held > Duration::from_secs(3), "{held:?}");
    assert!(held < Duration::from_secs(6), "{held:?}");
}

#[tokio::test]
async fn a_client_that_takes_its_answers_slowly_leaves_others_what_they_need() {
    let (service, upstream) = service_with("max_buffered = \"4000000B\"").await;
    let mut slow = Vec::new();
    for gathers in 1..=6 {
        slow.push(get_over(small(&service).await, "/mega").await);
        // One after the other, so that each finds what the one before it has left.
        until(|| upstream.counters.requests() >= gathers && upstream.counters.requests_open() == 0)
            .await;
    }
    let other = client_builder()
        .local_address(IpAddr::from([127, 0, 0, 2]))
        .build()
        .unwrap();
    for _ in 0..5 {
        let answer = service.ask(&other, "GET", "/mega", &[]).await;
        assert_eq!((answer.status, answer.body.len()), (200, 1_000_002));
    }
}

#[tokio::test]
async fn a_client_that_takes_a_byte_now_and_then_is_closed_all_the_same() {
    let (service, _upstream) = service().await;
    let mut drip = get_big(&service).await;
    let mut ticks = interval(Duration::from_millis(20));
    let refused = async {
        // Empty lines before a request are allowed; they fail once the other side has closed.
        while drip.write_all(b"\r\n").await.is_ok() && drip.read_u8().await.is_ok() {
            ticks.tick().await;
        }
    };
    soon(refused).await;
    for path in [b"/big", b"/one"] {
        let mut windows = tls(&service, "h2").await.unwrap();
        windows
            .write_all(&[preface(1), request(path)].concat())
            .await
            .unwrap();
        let (mut read, mut write) = tokio::io::split(windows);
        let mut answer = Vec::new();
        let opens = async {
            // 14 bytes are not worth half a second.
            ticks = interval(Duration::from_millis(100));
            while write.write_all(ONE_BYTE).await.is_ok() {
                ticks.tick().await;
            }
        };
        soon(async {
            tokio::select! { _ = read.read_to_end(&mut answer) => {}, () = opens => {} }
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_is_slow_but_steady_gets_all_of_its_answer() {
    let (service, _upstream) = service().await;
    let mut steady = get_big(&service).await;
    let mut taken = 0;
    let mut piece = vec![0; 512 * 1024];
    let mut ticks = interval(Duration::from_millis(20));
    while taken < 16_000_000 {
        taken += soon(steady.read(&mut piece)).await.unwrap();
        ticks.tick().await;
    }
}

//! Clients that take their answers slowly, or not at all.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::interval;

use crate::edge_client::{Tls, is_closed, tls};
use crate::harness::{Service, Upstream, route, soon};

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

/// `/big` answers with 16 MB, `/one` with 14 bytes.
async fn service() -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + &upstream.section("large", "/fault/size/1000000")
        + "max_response = \"2MiB\"\n"
        + &route("/one", "all", "work", "calls = 1")
        + &route("/big", "all", "large", "calls = 16");
    let unlimited = "[rate_limit]\nenabled = false\n";
    let service = Service::with("write_timeout = \"500ms\"", unlimited, &config).await;
    (service, upstream)
}

async fn get_big(service: &Service) -> Tls {
    let mut stream = tls(service, "http/1.1").await.unwrap();
    let head = b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream
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

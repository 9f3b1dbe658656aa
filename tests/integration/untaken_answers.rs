//! Answers that nobody takes, from many addresses at once: what they may keep from others.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::RecvStream;
use h2::client::{Connection, SendRequest};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use crate::edge_client::{Tls, tls_over};
use crate::harness::{Service, Upstream, client_builder, route, soon, until, until_async};

/// Answers over one HTTP/2 connection whose client opens no window.
struct Untaken {
    _bodies: Vec<RecvStream>,
    connection: JoinHandle<()>,
}

/// `/one` answers with 14 bytes, `/mega` with 1 MB, `/hang` not at all.
async fn service(server: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + &upstream.section("large", "/fault/size/1000000")
        + &upstream.section("slow", "/fault/hang/start")
        + &route("/one", "all", "work", "calls = 1")
        + &route("/mega", "all", "large", "calls = 1")
        + &route("/hang", "all", "slow", "calls = 1");
    let server = format!("write_timeout = \"60s\"\n{server}");
    let unlimited = "[rate_limit]\nenabled = false\n";
    let service = Service::with(&server, unlimited, &config).await;
    (service, upstream)
}

/// An HTTP/2 connection from 127.0.0.`last` on which nothing may be sent.
async fn shut(service: &Service, last: u8) -> (SendRequest<Bytes>, Connection<Tls>) {
    let socket = TcpSocket::new_v4().unwrap();
    let own = SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(own).unwrap();
    let stream = socket.connect(service.addrs.https[0]).await.unwrap();
    let stream = tls_over(service, stream, "h2").await.unwrap();
    let mut builder = h2::client::Builder::new();
    let builder = builder.initial_window_size(0);
    builder.handshake(stream).await.unwrap()
}

/// The status of the answer to a GET over HTTP/2, and its body, of which nothing is taken.
async fn get(requests: &SendRequest<Bytes>, path: &str) -> (u16, RecvStream) {
    let uri = format!("https://localhost{path}");
    let request = http::Request::get(uri).body(()).unwrap();
    let mut requests = requests.clone().ready().await.unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    let answer = soon(answer).await.unwrap();
    (answer.status().as_u16(), answer.into_body())
}

/// Asks so often at once from 127.0.0.`last`, and takes nothing of what is answered with 200.
async fn leave(service: &Service, last: u8, path: &str, times: usize) -> (usize, Untaken) {
    let (requests, connection) = shut(service, last).await;
    let connection = tokio::spawn(async {
        let _ = connection.await;
    });
    let answers = join_all((0..times).map(|_| get(&requests, path))).await;
    let gathered = answers.into_iter().filter(|(status, _)| *status == 200);
    let bodies: Vec<_> = gathered.map(|(_, body)| body).collect();
    let untaken = Untaken {
        _bodies: bodies,
        connection,
    };
    (untaken._bodies.len(), untaken)
}

/// A client at 127.0.0.`last`.
fn client_at(last: u8) -> reqwest::Client {
    let client = client_builder().local_address(IpAddr::from([127, 0, 0, last]));
    client.build().unwrap()
}

async fn status(service: &Service, client: &reqwest::Client, path: &str) -> u16 {
    service.ask(client, "GET", path, &[]).await.status
}

#[tokio::test]
async fn few_addresses_leave_places_to_a_client_that_has_one_gather_at_a_time() {
    let (service, _upstream) = service("max_in_flight = 40").await;
    let mut held = Vec::new();
    for last in 3..8 {
        held.push(leave(&service, last, "/one", 25).await);
    }
    let answers: usize = held.iter().map(|(answers, _)| answers).sum();
    assert!((30..40).contains(&answers), "{answers}");
    let client = client_at(2);
    for _ in 0..50 {
        assert_eq!(status(&service, &client, "/one").await, 200);
    }
}

#[tokio::test]
async fn few_addresses_leave_bytes_to_a_client_that_has_one_gather_at_a_time() {
    let (service, _upstream) = service("max_buffered = \"16000000B\"").await;
    let mut held = Vec::new();
    for last in 3..5 {
        held.push(leave(&service, last, "/mega", 20).await);
    }
    let answers: usize = held.iter().map(|(answers, _)| answers).sum();
    assert!((11..15).contains(&answers), "{answers}");
    let client = client_at(2);
    for _ in 0..10 {
        assert_eq!(status(&service, &client, "/mega").await, 200);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_gives_way_and_a_gather_that_runs_does_not() {
    let all_places = ("max_in_flight = 3", "/one");
    let all_bytes = ("max_buffered = \"2000000B\"", "/mega");
    for (server, path) in [all_places, all_bytes] {
        let (service, upstream) = service(server).await;
        let url = service.url("/hang");
        let running = tokio::spawn(client_at(3).get(url).send());
        until(|| upstream.counters.requests_open() == 1).await;
        let mut held = Vec::new();
        for last in 4..6 {
            let (answers, untaken) = leave(&service, last, path, 1).await;
            assert_eq!(answers, 1);
            held.push(untaken);
        }
        let client = client_at(2);
        assert_eq!(status(&service, &client, path).await, 503);
        until_async(async || status(&service, &client, path).await == 200).await;
        // The longest untaken was enough.
        let second = held.pop().unwrap();
        soon(held.pop().unwrap().connection).await.unwrap();
        assert!(!second.connection.is_finished() && !running.is_finished());
    }
}

#[tokio::test]
async fn on_a_proxy_s_connection_one_stream_ends_and_the_others_go_on() {
    let proxy = "trusted_proxies = [\"127.0.0.4\"]\nmax_in_flight = 1";
    let (service, _upstream) = service(proxy).await;
    let (requests, mut connection) = shut(&service, 4).await;
    let (open, opened) = tokio::sync::oneshot::channel();
    let connection = tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = &mut connection => {}
            Ok(()) = opened => {
                connection.set_initial_window_size(65_535).unwrap();
                let _ = connection.await;
            }
        }
    });
    let (_, mut untaken) = get(&requests, "/mega").await;
    let client = client_at(2);
    until_async(async || status(&service, &client, "/one").await == 200).await;
    open.send(()).unwrap();
    let (status, mut taken) = get(&requests, "/one").await;
    assert_eq!(status, 200);
    let whole = soon(taken.data()).await.unwrap().unwrap();
    assert_eq!(whole, "[{\"time\":250}]");
    let end = async {
        while let Some(piece) = untaken.data().await {
            piece?;
        }
        Ok::<_, h2::Error>(())
    };
    assert!(soon(end).await.unwrap_err().is_reset());
    assert!(!connection.is_finished());
}

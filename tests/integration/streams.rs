//! Replies over HTTP/2, frame by frame: what each is taken for, and what is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Service, Upstream, route, soon};
use crate::raw_upstreams::{Identity, Raw, get_all, reply, request_head};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` (RFC 7541 appendix A).
const OK: &[u8] = b"\x88";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, OK)
}

fn whole(stream: u32, body: &str) -> Vec<u8> {
    [
        head(stream),
        frame(DATA, END_STREAM, stream, body.as_bytes()),
    ]
    .concat()
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(
        GOAWAY,
        0,
        0,
        &[last.to_be_bytes(), code.to_be_bytes()].concat(),
    )
}

/// The server's side of a connection, frame by frame.
struct Frames {
    stream: TcpStream,
}

impl Frames {
    /// After the prefaces of both sides; `streams` may be open at once.
    async fn begin(mut stream: TcpStream, streams: u32) -> Option<Self> {
        stream.read_exact(&mut [0; 24]).await.ok()?;
        let mut this = Self { stream };
        this.allow(streams).await;
        Some(this)
    }

    async fn allow(&mut self, streams: u32) {
        let setting = [&3_u16.to_be_bytes()[..], &streams.to_be_bytes()].concat();
        self.send(&frame(SETTINGS, 0, 0, &setting)).await;
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A client that has gone is not this side's affair.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next request's stream; none when the connection ends.
    async fn request(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).ok()?];
            self.stream.read_exact(&mut payload).await.ok()?;
            match head[3] {
                SETTINGS if head[4] == 0 => self.send(&frame(SETTINGS, 1, 0, &[])).await,
                HEADERS => return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
                _ => {}
            }
        }
    }
}

/// An upstream that answers each request with these frames, made from its stream and its number among all.
async fn upstream(
    answer: impl Fn(u32, usize) -> Vec<u8> + Send + Sync + 'static,
) -> (Raw, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let (answer, count) = (Arc::new(answer), seen.clone());
    let raw = Raw::serve(move |stream, _| {
        let (answer, count) = (answer.clone(), count.clone());
        async move {
            let Some(mut frames) = Frames::begin(stream, 100).await else {
                return;
            };
            while let Some(stream) = frames.request().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                frames.send(&answer(stream, number)).await;
            }
        }
    })
    .await;
    (raw, seen)
}

async fn service(raw: &Raw, calls: usize) -> Service {
    let config = format!(
        "[upstreams.work]\nurl = \"http://{}/\"\nhttp = \"2\"\n",
        raw.addr
    );
    let route = route("/work", "all", "work", &format!("calls = {calls}"));
    Service::start(&(config + &route)).await
}

async fn kind_of(answer: impl Fn(u32, usize) -> Vec<u8> + Send + Sync + 'static) -> String {
    let (raw, _) = upstream(answer).await;
    let answer = service(&raw, 1).await.get("/work?timeout=5000").await;
    assert_eq!(answer.problem(), "gather-failed", "{answer:?}");
    answer.kinds().remove(0)
}

#[tokio::test]
async fn a_body_is_whole_only_at_the_end_of_its_stream_whatever_resets_it() {
    for code in 0..=13 {
        let cut = move |stream, _| {
            let begun = frame(DATA, 0, stream, b"12");
            [head(stream), begun, reset(stream, code)].concat()
        };
        assert_eq!(kind_of(cut).await, "reset", "{code}");
    }
    let (raw, _) = upstream(|stream, _| whole(stream, "1234")).await;
    assert_eq!(service(&raw, 1).await.get("/work").await.body, "[1234]");
    // A reset behind the end changes nothing.
    let behind = |stream, _| [whole(stream, "1234"), reset(stream, 0)].concat();
    let (raw, _) = upstream(behind).await;
    assert_eq!(service(&raw, 1).await.get("/work").await.body, "[1234]");
}

#[tokio::test]
async fn an_end_of_the_connection_is_a_reset_wherever_it_comes() {
    let pieces: [fn(u32) -> Vec<u8>; 5] = [
        |stream| head(stream)[..5].to_vec(),
        head,
        |stream| [head(stream), frame(DATA, 0, stream, b"12")].concat(),
        |stream| [&head(stream)[..], &frame(DATA, 0, stream, b"1234")[..11]].concat(),
        |_| Vec::new(),
    ];
    for (number, piece) in pieces.into_iter().enumerate() {
        let raw = Raw::serve(move |stream, _| async move {
            let Some(mut frames) = Frames::begin(stream, 100).await else {
                return;
            };
            if let Some(stream) = frames.request().await {
                frames.send(&piece(stream)).await;
                let _ = frames.stream.shutdown().await;
            }
        })
        .await;
        let answer = service(&raw, 1).await.get("/work?timeout=5000").await;
        assert_eq!(answer.kinds(), ["reset"], "{number}: {answer:?}");
    }
}

#[tokio::test]
async fn a_stream_that_was_refused_is_sent_again_once_elsewhere() {
    const REFUSED_STREAM: u32 = 7;
    let (raw, seen) = upstream(|stream, number| match number {
        0 => reset(stream, REFUSED_STREAM),
        _ => whole(stream, "1"),
    })
    .await;
    let answer = service(&raw, 1).await.get("/work").await;
    assert_eq!(answer.body, "[1]", "{answer:?}");
    assert_eq!((seen.load(Ordering::SeqCst), raw.accepted()), (2, 2));
    let (raw, seen) = upstream(|stream, _| reset(stream, REFUSED_STREAM)).await;
    let answer = service(&raw, 1).await.get("/work").await;
    assert_eq!(answer.kinds(), ["reset"]);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_a_goaway_says_was_not_processed_is_sent_again_and_what_was_is_answered() {
    let raw = Raw::serve(|stream, number| async move {
        let Some(mut frames) = Frames::begin(stream, 100).await else {
            return;
        };
        let mut streams = Vec::new();
        while let Some(stream) = frames.request().await {
            if number > 0 {
                frames.send(&whole(stream, "2")).await;
                continue;
            }
            streams.push(stream);
            if streams.len() == 6 {
                // The first three are processed.
                frames.send(&goaway(streams[2], 0)).await;
                for stream in &streams[..3] {
                    frames.send(&whole(*stream, "1")).await;
                }
            }
        }
    })
    .await;
    let answer = service(&raw, 6).await.get("/work").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let bodies = answer.json();
    let bodies: Vec<_> = bodies
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it.as_u64())
        .collect();
    assert_eq!(bodies, [1, 1, 1, 2, 2, 2].map(Some));
    assert_eq!(raw.accepted(), 2);
}

#[tokio::test]
async fn an_upstream_that_wants_http1_gets_it_from_then_on() {
    const HTTP_1_1_REQUIRED: u32 = 13;
    let directory = tempfile::tempdir().expect("a directory");
    let identity = Identity::of("localhost", |_| {});
    let inner = Raw::serve(|mut stream, _| async move {
        let mut first = [0; 3];
        if !matches!(stream.peek(&mut first).await, Ok(3)) {
            return;
        }
        if &first == b"PRI" {
            let Some(mut frames) = Frames::begin(stream, 100).await else {
                return;
            };
            while let Some(stream) = frames.request().await {
                frames.send(&reset(stream, HTTP_1_1_REQUIRED)).await;
            }
            return;
        }
        while request_head(&mut stream).await.is_some() {
            reply(&mut stream, "1").await;
        }
    })
    .await;
    let server = Raw::tls(&identity, &["h2", "http/1.1"], inner.addr).await;
    // The tunnel offers h2 first; who offers only HTTP/1.1 gets that.
    let config = format!(
        "[upstreams.work]\nurl = \"https://localhost:{}/\"\n",
        server.addr.port()
    ) + &identity.ca_in(directory.path())
        + &route("/work", "all", "work", "calls = 1");
    let service = Service::start(&config).await;
    for round in 0..5 {
        let answer = service.get("/work").await;
        assert_eq!(answer.body, "[1]", "{round} {answer:?}");
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_limit_of_streams_that_falls_holds_from_then_on() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let raw = Raw::serve(move |stream, number| {
        let most = seen.clone();
        async move {
            let Some(mut frames) = Frames::begin(stream, 128).await else {
                return;
            };
            let Some(first) = frames.request().await else {
                return;
            };
            frames.allow(8).await;
            frames.send(&whole(first, "1")).await;
            let mut open = Vec::new();
            loop {
                let next = tokio::time::timeout(Duration::from_millis(50), frames.request()).await;
                match next {
                    Ok(Some(stream)) => open.push(stream),
                    Ok(None) => return,
                    Err(_) => {
                        // Later ones are filled before they have said less.
                        if number == 0 {
                            most.fetch_max(open.len(), Ordering::SeqCst);
                        }
                        for stream in open.drain(..) {
                            frames.send(&whole(stream, "1")).await;
                        }
                    }
                }
            }
        }
    })
    .await;
    let one = route("/one", "all", "work", "calls = 1");
    let config = format!(
        "[upstreams.work]\nurl = \"http://{}/\"\nhttp = \"2\"\n",
        raw.addr
    );
    let service =
        Service::start(&(config + &route("/work", "all", "work", "calls = 20") + &one)).await;
    assert_eq!(service.get("/one").await.status, 200);
    let asked = (0..6).map(|_| service.url("/work")).collect();
    for answer in get_all(asked, 6).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let most = most.load(Ordering::SeqCst);
    assert!((1..=8).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_head_is_limited_as_over_http1_and_its_values_have_no_white_space_around_them() {
    // A literal field without indexing and with a new name (RFC 7541 section 6.2.2).
    let field = |name: &str, value: &str| {
        let mut bytes = vec![0, u8::try_from(name.len()).expect("a short name")];
        bytes.extend_from_slice(name.as_bytes());
        let mut rest = value.len();
        if rest < 127 {
            bytes.push(u8::try_from(rest).expect("it is short"));
        } else {
            bytes.push(127);
            rest -= 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).expect("a byte"));
        }
        bytes.extend_from_slice(value.as_bytes());
        bytes
    };
    let with = |fields: Vec<u8>| {
        move |stream: u32, _: usize| {
            let block = [OK, &fields].concat();
            let mut chunks = block.chunks(16_000);
            let first = chunks.next().expect("a status");
            let is_only = block.len() <= 16_000;
            let mut frames = frame(
                HEADERS,
                if is_only { END_HEADERS } else { 0 },
                stream,
                first,
            );
            let rest: Vec<_> = chunks.collect();
            for (number, chunk) in rest.iter().enumerate() {
                let flags = if number + 1 == rest.len() {
                    END_HEADERS
                } else {
                    0
                };
                frames.extend(frame(9, flags, stream, chunk));
            }
            frames.extend(frame(DATA, END_STREAM, stream, b"1"));
            frames
        }
    };
    for (count, length) in [(20, 1000), (60, 1000), (120, 10)] {
        let (raw, _) = upstream(with(field("x-a", &"x".repeat(length)).repeat(count))).await;
        let answer = service(&raw, 1).await.get("/work").await;
        assert_eq!(answer.body, "[1]", "{count} of {length}: {answer:?}");
    }
    assert_eq!(
        kind_of(with(field("x-a", &"x".repeat(1000)).repeat(200))).await,
        "protocol"
    );
    for value in [" 1", "1 ", "\t1"] {
        assert_eq!(
            kind_of(with(field("x-a", value))).await,
            "protocol",
            "{value:?}"
        );
    }
}

#[tokio::test]
async fn frames_and_interim_replies_without_end_end_the_call_and_nobody_else_waits() {
    let floods: [fn(u32) -> Vec<u8>; 4] = [
        |_| frame(SETTINGS, 0, 0, &[]),
        |_| frame(PING, 0, 0, b"12345678"),
        |_| frame(PING, 1, 0, b"12345678"),
        // `:status: 103`, as a literal with an indexed name.
        |stream| frame(HEADERS, END_HEADERS, stream, b"\x08\x03103"),
    ];
    for (number, flood) in floods.into_iter().enumerate() {
        let raw = Raw::serve(move |stream, _| async move {
            let Some(mut frames) = Frames::begin(stream, 100).await else {
                return;
            };
            let Some(stream) = frames.request().await else {
                return;
            };
            let (mut read, mut write) = frames.stream.split();
            let block = flood(stream).repeat(1000);
            let sends = async { while write.write_all(&block).await.is_ok() {} };
            let mut sink = vec![0; 65536];
            let reads = async { while matches!(read.read(&mut sink).await, Ok(1..)) {} };
            tokio::join!(sends, reads);
        })
        .await;
        let good = Upstream::start();
        let config = format!(
            "[upstreams.bad]\nurl = \"http://{}/\"\nhttp = \"2\"\n",
            raw.addr
        ) + &good.section("good", "/")
            + &route("/bad", "all", "bad", "calls = 4")
            + &route("/good", "all", "good", "calls = 1");
        let service =
            Service::with("worker_threads = 1", crate::log_lines::UNLIMITED, &config).await;
        let begun = Instant::now();
        let (bad, good) = tokio::join!(service.get("/bad?timeout=500"), service.get("/good"));
        assert_eq!((bad.status, good.status), (500, 200), "{number}");
        assert!(begun.elapsed() < Duration::from_millis(1500), "{number}");
    }
}

/// An upstream whose connections agree on different protocols: two nodes behind one address.
#[tokio::test]
async fn each_connection_speaks_what_it_negotiated() {
    let directory = tempfile::tempdir().expect("a directory");
    let identity = Identity::of("localhost", |_| {});
    let mock = Upstream::start();
    let new = Raw::tls(&identity, &["h2", "http/1.1"], mock.addr).await;
    let old = Raw::tls(&identity, &["http/1.1"], mock.addr).await;
    let none = Raw::tls(&identity, &[], mock.addr).await;
    let nodes = [new.addr, old.addr, none.addr];
    let front = Raw::serve(move |mut stream, number| async move {
        let mut inside = TcpStream::connect(nodes[number % 3]).await.expect("a node");
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
    })
    .await;
    let config = format!(
        "[upstreams.work]\nurl = \"https://localhost:{}/\"\nmax_connection_age = \"1s\"\n",
        front.addr.port()
    ) + &identity.ca_in(directory.path())
        + &route("/work", "all", "work", "calls = 3");
    let service = Service::start(&config).await;
    let begun = Instant::now();
    while front.accepted() < 12 && begun.elapsed() < Duration::from_secs(15) {
        let answer = soon(service.get("/work")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(front.accepted() >= 9, "{}", front.accepted());
}

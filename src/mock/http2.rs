//! One HTTP/2 connection with prior knowledge: hyper speaks, the script says what.

use std::io::{self, Cursor};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Shared;
use super::counters::OpenRequest;
use super::fault::{self, Answer, Asked};
use super::script::{Cut, Framing, Reply, Script};

/// Streams at once on a connection, as many as most servers allow.
const MAX_STREAMS: u32 = 100;

/// Answers what comes on `stream`, of which `buffer` was read before.
pub(super) async fn serve(stream: TcpStream, buffer: BytesMut, shared: Shared) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let socket = tokio::io::join(Cursor::new(buffer).chain(read), write);
    let service = service_fn({
        let shared = shared.clone();
        move |request| respond(request, shared.clone())
    });
    Builder::new(Streams(shared))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(socket), service)
        .await
        .map_err(io::Error::other)
}

/// Starts the tasks of streams where the mock can end them.
#[derive(Clone)]
struct Streams(Shared);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

type Steps = Result<Frame<Bytes>, Cut>;

async fn respond(
    request: Request<Incoming>,
    shared: Shared,
) -> Result<Response<StreamBody<impl Stream<Item = Steps>>>, Cut> {
    let open = OpenRequest::new(&shared.counters);
    let mut reply = reply(&request, &shared);
    let mut before = Script::new(std::mem::take(&mut reply.before));
    while let Some(next) = before.next().await {
        next?;
    }
    if request.method() == http::Method::HEAD {
        reply.body.clear();
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, *value);
    }
    if let Framing::Length(length) = reply.framing {
        response = response.header(http::header::CONTENT_LENGTH, length);
    }
    // The request is open until its body has been sent or dropped.
    let state = (Script::new(reply.body), open);
    let body = StreamBody::new(stream::unfold(state, |(mut script, open)| async {
        let next = script.next().await?;
        Some((next.map(Frame::data), (script, open)))
    }));
    response.body(body).map_err(|_| Cut::Reset)
}

/// What this protocol can say of the answer.
fn reply(request: &Request<Incoming>, shared: &Shared) -> Reply {
    let asked = Asked {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query(),
    };
    let authority = request
        .uri()
        .authority()
        .map(|authority| (":authority", authority.as_str()));
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = authority
        .map(|(name, value)| (name, value.as_bytes()))
        .into_iter()
        .chain(fields);
    match fault::answer(&asked, headers, &shared.default_reply) {
        Answer::Reply(reply) if reply.status >= 200 => reply,
        Answer::Reply(_) | Answer::Raw(_) => Reply::json(
            501,
            Bytes::from_static(br#"{"error":"this fault is for HTTP/1.1"}"#),
        ),
        Answer::Default | Answer::LastReply | Answer::Leave(_) | Answer::Stale(_) => {
            shared.default_reply.reply()
        }
    }
}

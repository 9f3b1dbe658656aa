//! One HTTP/1.1 connection, read and written by hand: faults need the bare socket.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::Shared;
use super::counters::OpenRequest;
use super::default_reply::DefaultReply;
use super::fault::{self, Answer, Asked};
use super::script::{Cut, Reply, Script, Step};

/// Bytes of a request head, and of requests sent ahead of their turn.
const MAX_HEAD: usize = 64 * 1024;

/// Header fields of a request.
const MAX_FIELDS: usize = 100;

/// Answers what comes on `stream`, of which `buffer` was read before.
pub(super) async fn serve(
    mut stream: TcpStream,
    mut buffer: BytesMut,
    shared: &Shared,
) -> io::Result<()> {
    let mut served = 0;
    loop {
        let head = loop {
            match parse(&buffer, &shared.default_reply) {
                Parsed::Head(head) => break head,
                Parsed::Bad(status) => {
                    let reply = Reply::json(status, "{\"error\":\"bad request\"}".into());
                    stream.write_all_buf(&mut reply.head()).await?;
                    return stream.shutdown().await;
                }
                Parsed::Partial => {
                    if stream.read_buf(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
            }
        };
        let open = OpenRequest::new(&shared.counters);
        served += 1;
        buffer.advance(head.length);
        skip(&mut stream, &mut buffer, head.body).await?;
        let turn = Turn::new(head, served, &shared.default_reply);
        let cut = turn.take(&mut stream, &mut buffer).await?;
        drop(open);
        match cut {
            None => {}
            Some(Cut::Close) => return stream.shutdown().await,
            Some(Cut::Reset) => return stream.set_zero_linger(),
        }
    }
}

/// What was read of a connection.
enum Parsed {
    Head(Head),
    Partial,
    Bad(u16),
}

/// A request's head, as far as the mock cares.
struct Head {
    /// Bytes of it.
    length: usize,
    /// Bytes of the request's body.
    body: u64,
    method: &'static str,
    /// Whether the client takes no further reply.
    last: bool,
    answer: Answer,
}

fn parse(buffer: &[u8], default_reply: &DefaultReply) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Bad(431);
        }
        Err(_) => return Parsed::Bad(400),
    };
    let mut body = 0;
    let mut last = request.version == Some(0);
    for field in request.headers.iter() {
        let value = str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            let Ok(declared) = value.parse() else {
                return Parsed::Bad(400);
            };
            body = declared;
        } else if field.name.eq_ignore_ascii_case("connection") {
            last |= value.eq_ignore_ascii_case("close");
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Bad(501);
        }
    }
    let method = request.method.unwrap_or_default();
    let target = request.path.unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let asked = Asked {
        method,
        path,
        query,
    };
    let headers = request
        .headers
        .iter()
        .map(|field| (field.name, field.value));
    Parsed::Head(Head {
        length,
        body,
        method: if method == "HEAD" { "HEAD" } else { "" },
        last,
        answer: fault::answer(&asked, headers, default_reply),
    })
}

/// Reads and forgets a request's body of `length` bytes.
async fn skip(stream: &mut TcpStream, buffer: &mut BytesMut, length: u64) -> io::Result<()> {
    let mut left = length;
    loop {
        let here = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        buffer.advance(here);
        left -= here as u64;
        if left == 0 {
            return Ok(());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// One answer in its place on the connection.
enum Turn {
    /// Whole bytes, nothing to wait for, and the connection stays.
    AtOnce(bytes::Bytes),
    /// Anything else.
    Played(Script),
}

impl Turn {
    /// The turn of the request that is number `served` on its connection.
    fn new(head: Head, served: u64, default_reply: &DefaultReply) -> Self {
        if matches!(head.answer, Answer::Default)
            && !head.last
            && head.method != "HEAD"
            && let Some(written) = default_reply.at_once()
        {
            return Self::AtOnce(written);
        }
        let mut last = head.last;
        let reply = match head.answer {
            Answer::Reply(reply) => reply,
            Answer::Raw(steps) => return Self::Played(Script::new(steps)),
            Answer::Default => default_reply.reply(),
            Answer::LastReply => {
                last = true;
                let mut reply = default_reply.reply();
                reply.headers.push(("connection", "close"));
                reply
            }
            Answer::Leave(after) => {
                last |= served >= after;
                default_reply.reply()
            }
            Answer::Stale(after) if served > after => {
                return Self::Played(Script::new([Step::Cut(Cut::Close)]));
            }
            Answer::Stale(_) => default_reply.reply(),
        };
        let mut script = reply.into_http1(head.method);
        if last {
            script.push(Step::Cut(Cut::Close));
        }
        Self::Played(script)
    }

    /// Writes the answer; says how the connection ends, if it does.
    async fn take(self, stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Cut>> {
        match self {
            Self::AtOnce(mut written) => {
                stream.write_all_buf(&mut written).await?;
                Ok(None)
            }
            Self::Played(script) => {
                let (mut read, mut write) = stream.split();
                tokio::select! {
                    biased;
                    ended = play(&mut write, script) => ended,
                    () = gone(&mut read, buffer) => Err(io::ErrorKind::ConnectionAborted.into()),
                }
            }
        }
    }
}

async fn play(write: &mut WriteHalf<'_>, mut script: Script) -> io::Result<Option<Cut>> {
    while let Some(next) = script.next().await {
        match next {
            Ok(mut bytes) => write.write_all_buf(&mut bytes).await?,
            Err(cut) => return Ok(Some(cut)),
        }
    }
    Ok(None)
}

/// Waits until the client has gone, keeping what it sends ahead of its turn.
async fn gone(read: &mut ReadHalf<'_>, buffer: &mut BytesMut) {
    while buffer.len() < MAX_HEAD {
        if !matches!(read.read_buf(buffer).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}

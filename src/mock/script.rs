//! What is done to a connection, step by step: the one language of every answer and every fault.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

/// One step of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes.
    Send(Bytes),
    /// These bytes, one by one, each after this pause.
    Drip(Bytes, Duration),
    /// These bytes so many times; `u64::MAX` is for ever.
    Repeat(Bytes, u64),
    /// Nothing for this long.
    Pause(Duration),
    /// Nothing until the client goes away.
    Hang,
    /// The end, in the middle of the answer.
    Cut(Cut),
}

/// How an answer is broken off. Over HTTP/2 both reset the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// TCP RST.
    Reset,
    /// TCP FIN.
    Close,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the mock breaks this answer off, as asked")
    }
}

impl std::error::Error for Cut {}

/// Steps on their way to the socket.
#[derive(Debug)]
pub(super) struct Script(VecDeque<Step>);

impl Script {
    /// These steps, from the first.
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// Adds a last step.
    pub(super) fn push(&mut self, step: Step) {
        self.0.push_back(step);
    }

    /// The next bytes to send, when their time has come; none when the answer is complete.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        loop {
            match self.0.pop_front()? {
                Step::Send(bytes) => return Some(Ok(bytes)),
                Step::Drip(mut bytes, every) => {
                    if !bytes.is_empty() {
                        tokio::time::sleep(every).await;
                        let byte = bytes.split_to(1);
                        self.0.push_front(Step::Drip(bytes, every));
                        return Some(Ok(byte));
                    }
                }
                Step::Repeat(bytes, times) => {
                    if times > 0 {
                        let left = if times == u64::MAX { times } else { times - 1 };
                        self.0.push_front(Step::Repeat(bytes.clone(), left));
                        return Some(Ok(bytes));
                    }
                }
                Step::Pause(duration) => tokio::time::sleep(duration).await,
                Step::Hang => std::future::pending().await,
                Step::Cut(cut) => return Some(Err(cut)),
            }
        }
    }
}

/// An answer that is at least the beginning of HTTP, for both protocols.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// What happens before the status.
    pub(super) before: Vec<Step>,
    /// 100 to 999.
    pub(super) status: u16,
    /// All but `content-length` and `transfer-encoding`.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// What the head says of the body.
    pub(super) framing: Framing,
    /// What comes after the head.
    pub(super) body: Vec<Step>,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body at all.
    Bodiless,
    /// By `content-length`, which need not be true.
    Length(u64),
    /// By chunks; HTTP/2 has its own way.
    Chunked,
}

impl Reply {
    /// A whole and honest reply.
    pub(super) fn json(status: u16, body: Bytes) -> Self {
        let length = body.len() as u64;
        Self::declaring(length, vec![Step::Send(body)]).with_status(status)
    }

    /// A 200 that declares `length` and does `body`.
    pub(super) fn declaring(length: u64, body: Vec<Step>) -> Self {
        Self {
            before: Vec::new(),
            status: 200,
            headers: vec![("content-type", "application/json")],
            framing: Framing::Length(length),
            body,
        }
    }

    fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Status line and headers of HTTP/1.1, to the empty line.
    pub(super) fn head(&self) -> Bytes {
        let reason = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        match self.framing {
            Framing::Bodiless => {}
            Framing::Length(length) => {
                let _ = write!(head, "content-length: {length}\r\n");
            }
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        head.into()
    }

    /// The whole answer as HTTP/1.1 writes it, without the body when `method` is HEAD.
    pub(super) fn into_http1(self, method: &str) -> Script {
        let head = self.head();
        let mut steps = self.before;
        let mut body = self.body.into_iter();
        if method == "HEAD" {
            body = Vec::new().into_iter();
        }
        match (self.framing, body.as_slice().first()) {
            // One segment on the wire, and one wake of the client.
            (Framing::Length(_), Some(Step::Send(first))) => {
                steps.push(Step::Send([head.as_ref(), first.as_ref()].concat().into()));
                steps.extend(body.skip(1));
            }
            (Framing::Chunked, Some(_)) => {
                steps.push(Step::Send(head));
                steps.extend(body.map(chunked));
                steps.push(Step::Send(Bytes::from_static(b"0\r\n\r\n")));
            }
            _ => {
                steps.push(Step::Send(head));
                steps.extend(body);
            }
        }
        Script::new(steps)
    }
}

/// The same step with its bytes as one chunk (RFC 9112, section 7.1).
fn chunked(step: Step) -> Step {
    let chunk = |bytes: &Bytes| {
        let size = format!("{:x}\r\n", bytes.len());
        Bytes::from([size.as_bytes(), bytes, b"\r\n"].concat())
    };
    match step {
        Step::Send(bytes) => Step::Send(chunk(&bytes)),
        Step::Drip(bytes, every) => Step::Drip(chunk(&bytes), every),
        Step::Repeat(bytes, times) => Step::Repeat(chunk(&bytes), times),
        Step::Pause(_) | Step::Hang | Step::Cut(_) => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(mut script: Script) -> String {
        let mut all = Vec::new();
        while let Some(Ok(bytes)) = script.next().await {
            all.extend_from_slice(&bytes);
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn a_reply_is_written_with_its_length_and_without_body_for_head() {
        let reply = Reply::json(200, Bytes::from_static(b"{}"));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
        let script = reply.clone().into_http1("HEAD");
        assert_eq!(written(script).await, head);
        assert_eq!(
            written(reply.into_http1("GET")).await,
            format!("{head}{{}}")
        );
    }

    #[tokio::test]
    async fn a_chunked_reply_ends_with_the_last_chunk() {
        let mut reply = Reply::declaring(0, vec![Step::Repeat(Bytes::from_static(b"xy"), 2)]);
        reply.framing = Framing::Chunked;
        let text = written(reply.into_http1("GET")).await;
        assert!(
            text.ends_with("\r\n\r\n2\r\nxy\r\n2\r\nxy\r\n0\r\n\r\n"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_takes_a_pause_for_each_byte() {
        let start = tokio::time::Instant::now();
        let drip = Step::Drip(Bytes::from_static(b"abc"), Duration::from_millis(10));
        assert_eq!(written(Script::new([drip])).await, "abc");
        assert_eq!(start.elapsed(), Duration::from_millis(30));
    }
}

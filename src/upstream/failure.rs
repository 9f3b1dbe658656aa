//! Why a call did not give a reply: a closed set, and where errors of the libraries fall in it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use ::http::StatusCode;

/// The kinds of failure, as problems, logs and metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No connection: name not found, refused, unroutable, or `connect_timeout`.
    Connect,
    /// The TLS handshake or record layer: a certificate that is expired, unknown or of another name.
    Tls,
    /// The branch's own timeout or the deadline came first.
    Timeout,
    /// The connection ended before the reply did.
    Reset,
    /// Not valid HTTP, or a head that is too large.
    Protocol,
    /// A status that is not 2xx, or is 204 or 205.
    Status,
    /// A body over `max_response`.
    TooLarge,
    /// Not one JSON document in UTF-8, nested too deep, or without what `select` points at.
    InvalidBody,
    /// Ours: no permit within `max_wait`, or `max_buffered` is used up.
    Overloaded,
    /// Not called: too many calls of the upstream failed lately.
    Breaker,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::TooLarge,
        Self::InvalidBody,
        Self::Overloaded,
        Self::Breaker,
    ];

    /// The words for all of them, in the same order.
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    /// The word for it in problems, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::InvalidBody => "invalid_body",
            Self::Overloaded => "overloaded",
            Self::Breaker => "breaker",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Whether a reply of this status counts: 2xx, but not 204 and 205, which have no body.
pub(super) fn is_success(status: StatusCode) -> bool {
    status.is_success() && status != StatusCode::NO_CONTENT && status != StatusCode::RESET_CONTENT
}

/// Why one call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: Kind,
    /// The status of the reply, when its head came.
    pub status: Option<u16>,
}

impl Failure {
    /// A failure before any head came.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self { kind, status: None }
    }

    /// A failure after a head with this status came.
    #[must_use]
    pub fn after(kind: Kind, status: u16) -> Self {
        Self {
            kind,
            status: Some(status),
        }
    }
}

/// Whether a request may be sent once more after its exchange ended without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The upstream may have worked on it.
    No,
    /// The upstream has not processed it, or a kept connection ended before any byte of the reply.
    Elsewhere,
    /// The upstream wants HTTP/1.1 for it (RFC 9113 section 7, `HTTP_1_1_REQUIRED`).
    Http1,
}

/// An exchange, or the opening of a connection, that ended without what it was for.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    /// Where it falls in the closed set.
    pub(super) kind: Kind,
    /// The cause, for the log.
    pub(super) because: Arc<str>,
    /// Whether the request may be sent once more.
    pub(super) again: Again,
}

impl Broken {
    /// A failure after which nothing is sent again.
    pub(super) fn new(kind: Kind, because: impl fmt::Display) -> Self {
        Self {
            kind,
            because: because.to_string().into(),
            again: Again::No,
        }
    }

    /// A failure of a connection, by what its socket or TLS says.
    pub(super) fn of_io(error: &io::Error) -> Self {
        let kind = if is_tls(error) {
            Kind::Tls
        } else {
            Kind::Reset
        };
        Self::new(kind, causes_in_words(error))
    }

    /// The same failure, after which the request may be sent again if `again` says so.
    pub(super) fn again(self, again: Again) -> Self {
        Self { again, ..self }
    }
}

/// Where an error of a TLS handshake falls. The peer that ends a TCP connection in the middle of the
/// handshake does not speak TLS as it should.
pub(super) fn handshake_kind(error: &io::Error) -> Kind {
    use io::ErrorKind as Io;
    match error.kind() {
        _ if is_tls(error) => Kind::Tls,
        Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => {
            Kind::Tls
        }
        _ => Kind::Connect,
    }
}

/// Whether TLS itself says no: an alert, a certificate, a record that is none.
fn is_tls(error: &io::Error) -> bool {
    causes(error).any(<dyn Error>::is::<rustls::Error>)
}

/// An error and its causes, as one line.
pub(super) fn causes_in_words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    // An error that only wraps another says the same twice.
    words.dedup();
    words.join(": ")
}

/// The error and all that caused it, outermost first. An [`io::Error`] hides the error it wraps from
/// [`Error::source`], so that is looked for too.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

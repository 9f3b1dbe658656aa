//! Why a call did not give a reply: a closed set, and where errors of the libraries fall in it.

use std::error::Error;
use std::fmt;
use std::io;

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
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::TooLarge,
        Self::InvalidBody,
        Self::Overloaded,
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
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
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

/// Where an error of the HTTP client falls.
pub(super) fn classify(error: &reqwest::Error) -> Kind {
    let inner = causes(error).find_map(kind_of);
    if error.is_connect() {
        // Whatever happened to TCP or a name is `connect`; what TLS says for itself is `tls`.
        return if inner == Some(Kind::Tls) || ended_in_handshake(error) {
            Kind::Tls
        } else {
            Kind::Connect
        };
    }
    match inner {
        Some(kind) => kind,
        None if error.is_timeout() => Kind::Connect,
        None => Kind::Protocol,
    }
}

/// Whether the upstream reset one HTTP/2 stream, while its connection lives on.
pub(super) fn is_stream_reset(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<h2::Error>()
            .is_some_and(h2::Error::is_reset)
    })
}

/// Where an error of a TCP connect and TLS handshake made outside the HTTP client falls.
pub(super) fn classify_handshake(error: &io::Error) -> Kind {
    match causes(error).find_map(kind_of) {
        Some(Kind::Tls | Kind::Reset) => Kind::Tls,
        _ => Kind::Connect,
    }
}

/// Whether the peer ended a TCP connection that was there, in the middle of the TLS handshake.
fn ended_in_handshake(error: &reqwest::Error) -> bool {
    use io::ErrorKind as Io;
    let ended = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe
            )
        })
    };
    error.url().is_some_and(|url| url.scheme() == "https") && causes(error).any(ended)
}

/// The error and all that caused it, outermost first. An [`io::Error`] hides the error it wraps from
/// [`Error::source`], so that is looked for too.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

/// An error and its causes, as one line.
pub(super) fn causes_in_words(error: &(dyn Error + 'static)) -> String {
    let words: Vec<String> = causes(error).map(ToString::to_string).collect();
    words.join(": ")
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

fn kind_of(error: &(dyn Error + 'static)) -> Option<Kind> {
    if error.is::<rustls::Error>() {
        return Some(Kind::Tls);
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return http2_kind(error);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return http1_kind(error);
    }
    error.downcast_ref::<io::Error>().and_then(io_kind)
}

fn http2_kind(error: &h2::Error) -> Option<Kind> {
    match error.get_io() {
        Some(error) => io_kind(error),
        None if error.is_remote() => Some(Kind::Reset),
        None => Some(Kind::Protocol),
    }
}

fn http1_kind(error: &hyper::Error) -> Option<Kind> {
    if error.is_parse() {
        Some(Kind::Protocol)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Some(Kind::Reset)
    } else {
        None
    }
}

fn io_kind(error: &io::Error) -> Option<Kind> {
    use io::ErrorKind as Io;
    match error.kind() {
        // What an io::Error wraps knows better, and comes next in the chain.
        _ if error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>()) =>
        {
            None
        }
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::NotConnected => {
            Some(Kind::Reset)
        }
        Io::UnexpectedEof => Some(Kind::Reset),
        // A peer that took nothing for `tcp_user_timeout`.
        Io::TimedOut => Some(Kind::Reset),
        Io::InvalidData | Io::InvalidInput => Some(Kind::Protocol),
        _ => None,
    }
}

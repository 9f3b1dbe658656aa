//! Asks the service that runs with the same config file, through its admin listener.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::{fmt, io};

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::runtime::Builder;

use crate::config::{AdminSettings, Problem};
use crate::trust;

/// For each step: connecting, and every part of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For all of them.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A page of the admin listener.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    /// What the service says of itself, as text.
    Status,
    /// Whether it is ready.
    Readiness,
}

/// Why there is no page.
#[derive(Debug)]
enum Failure {
    /// It has no event queue to wait with: descriptors are used up.
    Runtime(io::Error),
    /// It is stopped, or its host is gone.
    Timeout,
    /// It cannot be reached, or breaks off.
    Broken(reqwest::Error),
    /// Another kind of service listens there.
    NotHttp,
    /// It has no such page, or its answer is no.
    Status(StatusCode, String),
    /// It is another service of HTTP.
    SomethingElse,
    /// The same, with an answer that is not needed whole.
    TooLarge,
}

/// A page of its admin listener; the reason when that is none or does not answer with 200.
pub(super) fn page(admin: Option<&AdminSettings>, page: Page) -> Result<String, Problem> {
    let Some(admin) = admin else {
        let reason = "must be true, since it is the admin listener that is asked";
        return Err(Problem::said("admin.enabled", reason));
    };
    let address = reachable(admin.listen);
    let client = client(address)?;
    let answer = asked(&client, address, page.path()).and_then(|answer| page.of(answer));
    answer.map_err(|failure| {
        Problem::unavailable(format_args!("the admin listener at {address}"), failure)
    })
}

/// Where a listener is found from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return listen,
    };
    SocketAddr::new(ip, listen.port())
}

/// A client to which `localhost` is `address`: there is no name to look up, and an address with a zone,
/// which no URL can hold, is reached too.
fn client(address: SocketAddr) -> Result<Client, Problem> {
    Client::builder()
        .resolve("localhost", address)
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .timeout(WHOLE_TIMEOUT)
        // It is plain HTTP; with nothing said, all authorities of the system would be read.
        .tls_backend_preconfigured(trust::no_authority()?)
        .build()
        .map_err(|error| Problem::unavailable("an HTTP client", error))
}

/// The body of a good answer.
fn asked(client: &Client, address: SocketAddr, path: &str) -> Result<String, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let url = format!("http://localhost:{}{path}", address.port());
    runtime
        .map_err(Failure::Runtime)?
        .block_on(get(client, &url))
}

async fn get(client: &Client, url: &str) -> Result<String, Failure> {
    let mut response = client.get(url).send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    match response.status() {
        StatusCode::OK => Ok(body),
        status => Err(Failure::Status(status, body)),
    }
}

impl Page {
    fn path(self) -> &'static str {
        match self {
            Self::Status => "/status",
            Self::Readiness => "/readyz",
        }
    }

    /// What stands in it: something else may listen where the file says that gatherd does.
    fn mark(self) -> &'static str {
        match self {
            Self::Status => "\ngatherd ",
            Self::Readiness => "\"ready\"",
        }
    }

    /// The page, if it is this one.
    fn of(self, answer: String) -> Result<String, Failure> {
        if answer.contains(self.mark()) {
            Ok(answer)
        } else {
            Err(Failure::SomethingElse)
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let is_not_http = |cause: &(dyn Error + 'static)| {
            let cause = cause.downcast_ref::<hyper::Error>();
            cause.is_some_and(|cause| cause.is_parse() || cause.is_incomplete_message())
        };
        if error.is_timeout() {
            Self::Timeout
        } else if causes(&error).any(is_not_http) {
            Self::NotHttp
        } else {
            Self::Broken(error)
        }
    }
}

/// The error, what caused it, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "{error}"),
            Self::Timeout => write!(f, "it did not answer within {TIMEOUT:?}"),
            // Those above it say no more than that a request was made.
            Self::Broken(error) => match causes(error).last() {
                Some(cause) => write!(f, "{cause}"),
                None => write!(f, "{error}"),
            },
            Self::NotHttp => f.write_str("it does not speak HTTP"),
            Self::Status(status, body) => write!(f, "it answered {}: {body}", status.as_u16()),
            Self::SomethingElse => f.write_str("something else than gatherd answers"),
            Self::TooLarge => f.write_str("something else than gatherd answers, without end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What comes of this answer.
    fn answered(answer: &'static [u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        });
        let got = asked(&client(address).unwrap(), address, "/status");
        server.join().unwrap();
        got.map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_good_answer_is_its_body_and_any_other_is_an_error() {
        let good = answered(b"HTTP/1.0 200 OK\r\na: b\r\n\r\nAll well\n");
        assert_eq!(good.unwrap(), "All well\n");
        for (answer, told) in [
            (
                b"HTTP/1.0 403 Forbidden\r\n\r\nno".as_slice(),
                "it answered 403: no",
            ),
            (
                b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
                "it answered 302: ",
            ),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", "it does not speak HTTP"),
            (b"", "it does not speak HTTP"),
        ] {
            assert_eq!(answered(answer).unwrap_err(), told);
        }
        let other = answered(b"HTTP/1.0 200 OK\r\n\r\n{}").unwrap();
        let failure = Page::Readiness.of(other).unwrap_err();
        assert_eq!(failure.to_string(), "something else than gatherd answers");
    }

    #[test]
    fn an_answer_without_end_is_not_read_to_its_end() {
        let long = [
            b"HTTP/1.0 200 OK\r\n\r\n".as_slice(),
            &vec![b'a'; MAX_ANSWER + 1],
        ]
        .concat();
        let told = answered(long.leak()).unwrap_err();
        assert_eq!(told, "something else than gatherd answers, without end");
    }

    #[test]
    fn where_nothing_listens_the_reason_is_that_of_the_system() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let failure = asked(&client(address).unwrap(), address, "/status").unwrap_err();
        assert_eq!(failure.to_string(), "Connection refused (os error 111)");
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        let on = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(on("0.0.0.0:9180"), "127.0.0.1:9180");
        assert_eq!(on("[::]:9180"), "[::1]:9180");
        assert_eq!(on("10.0.0.7:9180"), "10.0.0.7:9180");
        assert_eq!(on("[fe80::1%2]:9180"), "[fe80::1%2]:9180");
    }
}

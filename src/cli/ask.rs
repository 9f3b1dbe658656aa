//! Asks the service that runs with the same config file, through its admin listener.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::{AdminSettings, Problem};

/// For each step: connecting, sending, and every part of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// A page of the admin listener.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    /// What the service says of itself, as text.
    Status,
    /// Whether it is ready.
    Readiness,
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
    fn of(self, answer: String) -> io::Result<String> {
        if answer.contains(self.mark()) {
            Ok(answer)
        } else {
            Err(io::Error::other("something else than gatherd answers"))
        }
    }
}

/// A page of its admin listener; the reason when that is none or does not answer with 200.
pub(super) fn page(admin: Option<&AdminSettings>, page: Page) -> Result<String, Problem> {
    let Some(admin) = admin else {
        let reason = "must be true, since it is the admin listener that is asked";
        return Err(Problem::said("admin.enabled", reason));
    };
    let address = reachable(admin.listen);
    let answer = get(address, page.path()).and_then(|answer| page.of(answer));
    answer.map_err(|error| {
        Problem::unavailable(format_args!("the admin listener at {address}"), error)
    })
}

/// Where a listener is found from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The body of a good answer; HTTP/1.0, so that it ends with the connection.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // At once: whoever answers the first bytes of it and leaves would have the rest fail.
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(io::Error::other(format!("it answered {status}: {body}"))),
        None => Err(io::Error::other("it does not speak HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answered(answer: &'static str) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let got = get(address, "/status");
        server.join().unwrap();
        got
    }

    #[test]
    fn a_good_answer_is_its_body_and_any_other_is_an_error() {
        let good = answered("HTTP/1.0 200 OK\r\na: b\r\n\r\nAll well\n").unwrap();
        assert_eq!(good, "All well\n");
        let error = answered("HTTP/1.0 403 Forbidden\r\n\r\nno").unwrap_err();
        assert_eq!(error.to_string(), "it answered 403: no");
        assert!(answered("SSH-2.0").is_err());
        let other = answered("HTTP/1.0 200 OK\r\n\r\n{}").unwrap();
        let error = Page::Readiness.of(other).unwrap_err();
        assert_eq!(error.to_string(), "something else than gatherd answers");
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        let on = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(on("0.0.0.0:9180"), "127.0.0.1:9180");
        assert_eq!(on("[::]:9180"), "[::1]:9180");
        assert_eq!(on("10.0.0.7:9180"), "10.0.0.7:9180");
    }
}

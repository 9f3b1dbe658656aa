//! Who may ask the admin listener, and by which name.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::routes::problem;

/// `type` of a problem whose status says it all (RFC 9457, section 4.2.1).
const PLAIN: &str = "about:blank";

/// What a peer is to us; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// May ask.
    Welcome,
    /// Gets 403.
    Stranger,
}

impl Peer {
    /// Loopback is always allowed, and every address when no network is listed.
    pub(super) fn of(address: IpAddr, allow: &[IpNet]) -> Self {
        let address = address.to_canonical();
        let listed = allow.is_empty() || allow.iter().any(|net| net.contains(&address));
        if listed || address.is_loopback() {
            Self::Welcome
        } else {
            Self::Stranger
        }
    }
}

/// Refuses clients that are not allowed; one of unknown address is not.
pub(super) async fn check_peer(request: Request, next: Next) -> Response {
    match request.extensions().get() {
        Some(Peer::Welcome) => next.run(request).await,
        Some(Peer::Stranger) | None => {
            problem(StatusCode::FORBIDDEN, PLAIN, "this address may not ask")
        }
    }
}

/// Refuses names that are not ours: a web page whose name was rebound to this address in DNS would
/// otherwise read from here through its visitor's browser.
pub(super) async fn check_host(request: Request, next: Next) -> Response {
    if is_for_us(&request) {
        return next.run(request).await;
    }
    // RFC 9110, section 15.5.20.
    let detail = "the host must be localhost or an address, with or without a port";
    problem(StatusCode::MISDIRECTED_REQUEST, PLAIN, detail)
}

/// Whether every name the request was sent to is ours, and there is one.
fn is_for_us(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter().peekable();
    let named = hosts.peek().is_some() && hosts.all(|host| host.to_str().is_ok_and(is_ours));
    let target = request.uri().authority();
    named && target.is_none_or(|authority| is_ours(authority.as_str()))
}

/// Whether `host` is localhost or an IP literal, with or without a port.
fn is_ours(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let literal = match name.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => name.parse::<IpAddr>().is_ok(),
    };
    !host.contains('@') && (literal || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_addresses_are_ours() {
        for host in [
            "localhost",
            "LOCALHOST:9180",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:1",
        ] {
            assert!(is_ours(host), "{host}");
        }
    }

    #[test]
    fn any_other_name_is_not() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil@127.0.0.1",
            "127.1",
            "2130706433",
            "[::1",
            "[evil]",
            "127.0.0.1:80:80",
            "local host",
        ] {
            assert!(!is_ours(host), "{host}");
        }
    }

    #[test]
    fn loopback_is_always_welcome_and_others_when_listed() {
        let allow = ["10.0.0.0/8".parse().unwrap()];
        let of = |address: &str| Peer::of(address.parse().unwrap(), &allow);
        for welcome in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.2.3.4",
            "::ffff:10.2.3.4",
        ] {
            assert_eq!(of(welcome), Peer::Welcome, "{welcome}");
        }
        assert_eq!(of("192.0.2.1"), Peer::Stranger);
        assert_eq!(of("2001:db8::1"), Peer::Stranger);
        assert_eq!(Peer::of([192, 0, 2, 1].into(), &[]), Peer::Welcome);
    }
}

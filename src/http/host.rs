//! Which site a request is for: exactly one valid Host (RFC 9112 section 3.2).

use ::http::header::HOST;
use ::http::request::Parts;
use ::http::uri::Authority;

use super::problem::ProblemDetails;

/// Refuses a request without, with several, or with a malformed Host.
///
/// # Errors
/// 400, which says which of these it is.
pub(super) fn check_host(head: &Parts) -> Result<(), ProblemDetails> {
    let mut lines = head.headers.get_all(HOST).iter();
    let authority = head.uri.authority();
    let is_http2 = head.version == ::http::Version::HTTP_2;
    let refuse = |detail| Err(ProblemDetails::bad_request(detail));
    match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => refuse("the request has more than one Host header"),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            // RFC 9113 section 8.3.1; an HTTP/1 target's own authority counts instead of the Host.
            Ok(host) if is_host(&host) => {
                if is_http2 && authority.is_some_and(|one| *one != host) {
                    return refuse("the Host header is not what :authority says");
                }
                Ok(())
            }
            _ => refuse("the Host header is not a host name or address with an optional port"),
        },
        // HTTP/2 has it in :authority, HTTP/1.0 need not have it.
        (None, None) if authority.is_some_and(is_host) => Ok(()),
        (None, None) if head.version < ::http::Version::HTTP_11 => Ok(()),
        (None, _) => refuse("the request has no Host header"),
    }
}

/// Whether it is a host, perhaps with a port, which may be empty (RFC 3986 section 3.2.3).
fn is_host(authority: &Authority) -> bool {
    let host = authority.host();
    // What names a user does not begin with the host, or goes on with something else than a port.
    let rest = authority.as_str().strip_prefix(host);
    let port_is_valid = match rest.and_then(|rest| rest.strip_prefix(':')) {
        Some(port) => port.is_empty() || port.parse::<u16>().is_ok(),
        None => rest.is_some_and(str::is_empty),
    };
    port_is_valid && !host.is_empty()
}

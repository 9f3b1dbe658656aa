//! What a plain-HTTP listener answers when it does not serve: the same place over HTTPS.

use ::http::header::{HOST, LOCATION};
use ::http::request::Parts;
use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderValue, StatusCode};
use axum::body::Body;
use axum::response::Response;

use super::problem::ProblemDetails;

/// The port of HTTPS, which URLs leave out (RFC 9110 section 4.2.2).
const HTTPS: u16 = 443;

/// 308 to the same host, path and query on the HTTPS port.
///
/// # Errors
/// 400 when the request names no host to send the client to.
pub(super) fn redirect(head: &Parts, https_port: u16) -> Result<Response, ProblemDetails> {
    let location = location(head, https_port)
        .ok_or_else(|| ProblemDetails::bad_request("the request has no Host header"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// The Host has been checked by the layers before.
fn location(head: &Parts, https_port: u16) -> Option<HeaderValue> {
    let named = head.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = match head.uri.authority() {
        // The absolute form outweighs the header (RFC 9112 section 3.2.2).
        Some(authority) => authority.clone(),
        None => Authority::try_from(named?).ok()?,
    };
    let host = authority.host();
    let port = match https_port {
        HTTPS => String::new(),
        other => format!(":{other}"),
    };
    let path = head.uri.path_and_query().map(PathAndQuery::as_str);
    // The asterisk form names no path.
    let path = path.filter(|path| path.starts_with('/')).unwrap_or("/");
    HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use ::http::Request;

    use super::*;

    fn sent_to(uri: &str, host: Option<&str>, port: u16) -> Option<String> {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let response = redirect(&request.body(()).unwrap().into_parts().0, port).ok()?;
        assert_eq!(response.status(), 308);
        Some(response.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn host_path_and_query_stay_and_the_port_is_that_of_https() {
        for (uri, host, port, location) in [
            (
                "/a?b=c&d",
                "example.com",
                443,
                "https://example.com/a?b=c&d",
            ),
            ("/", "example.com:80", 443, "https://example.com/"),
            (
                "/%2e%2e/x",
                "example.com:8080",
                8443,
                "https://example.com:8443/%2e%2e/x",
            ),
            ("/a", "[2001:db8::1]:80", 443, "https://[2001:db8::1]/a"),
            (
                "//evil.example/x",
                "example.com",
                443,
                "https://example.com//evil.example/x",
            ),
            (
                "http://a.example/x?y",
                "b.example",
                443,
                "https://a.example/x?y",
            ),
            ("http://a.example", "a.example", 443, "https://a.example/"),
            ("*", "example.com", 443, "https://example.com/"),
        ] {
            assert_eq!(
                sent_to(uri, Some(host), port).as_deref(),
                Some(location),
                "{uri}"
            );
        }
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_go() {
        assert_eq!(sent_to("/", None, 443), None);
    }
}

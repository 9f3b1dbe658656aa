//! Which header names the configuration may set or pass on, and which are the connection's, the
//! call's or gatherd's own.

use http::HeaderName;

const FORWARDING: &str = "who forwarded a request is not passed on";
const TRACING: &str = "gatherd sends its own tracing headers";
const DEADLINE: &str = "gatherd sends its own deadline";
const HOP: &str = "it belongs to one connection (RFC 9110, section 7.6.1)";
const BODY: &str = "calls have no body, and replies are whole and not encoded";

/// A header name in lower case, or why it is refused.
pub(super) fn allowed(text: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not a header name")?;
    match refusal(name.as_str()) {
        Some(reason) => Err(reason),
        None => Ok(name),
    }
}

fn refusal(name: &str) -> Option<&'static str> {
    match name {
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade"
        | "http2-settings" => Some(HOP),
        "host" => Some("the host is the upstream's own"),
        "accept" | "user-agent" => Some("gatherd sends its own"),
        "accept-encoding" | "range" | "expect" => Some(BODY),
        "forwarded" | "x-real-ip" | "via" => Some(FORWARDING),
        "traceparent" | "tracestate" | "baggage" | "x-request-id" | "b3" => Some(TRACING),
        "grpc-timeout" => Some(DEADLINE),
        _ => refused_family(name),
    }
}

fn refused_family(name: &str) -> Option<&'static str> {
    let families = [
        ("proxy-", HOP),
        ("content-", BODY),
        ("if-", "a conditional call could have no body"),
        ("x-forwarded-", FORWARDING),
        ("x-b3-", TRACING),
        ("x-envoy-", DEADLINE),
    ];
    families
        .into_iter()
        .find(|(family, _)| name.starts_with(family))
        .map(|(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_and_of_gatherd_are_refused() {
        for name in [
            "Connection",
            "keep-alive",
            "proxy-authorization",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "Host",
            "content-length",
            "content-type",
            "accept-encoding",
            "range",
            "if-none-match",
            "expect",
            "forwarded",
            "X-Forwarded-For",
            "x-real-ip",
            "via",
            "traceparent",
            "tracestate",
            "baggage",
            "x-request-id",
            "b3",
            "x-b3-traceid",
            "x-envoy-expected-rq-timeout-ms",
            "grpc-timeout",
            "accept",
            "user-agent",
            "a b",
            "",
        ] {
            assert!(allowed(name).is_err(), "{name}");
        }
        for name in ["Authorization", "cookie", "accept-language", "x-api-key"] {
            assert_eq!(allowed(name).unwrap().as_str(), name.to_lowercase());
        }
    }
}

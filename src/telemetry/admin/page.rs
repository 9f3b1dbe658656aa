//! The status page: one self-contained file, live by `/events`.
//!
//! It is what `page/` holds, made one. A browser runs and applies exactly these bytes and nothing
//! else, whatever a value from outside may hold: the policy names them by their hashes.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// The page's frame, with a place for the style and one for the script.
const FRAME: &str = include_str!("page/page.html");

/// How it looks.
const STYLE: &str = include_str!("page/page.css");

/// What it does. One script, in the order of its parts.
const SCRIPT: &str = concat!(
    include_str!("page/format.js"),
    include_str!("page/chart.js"),
    include_str!("page/page.js"),
);

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

/// The page.
pub(super) async fn page() -> Response {
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CONTENT_SECURITY_POLICY, PAGE.policy.clone()),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, PAGE.html.clone()).into_response()
}

struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    fn new() -> Self {
        let html = FRAME.replace("{style}", STYLE).replace("{script}", SCRIPT);
        // Trusted types: no text can become markup, not even by a slip of the script.
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; frame-ancestors 'none'; form-action 'none'; \
             require-trusted-types-for 'script'",
            source(STYLE),
            source(SCRIPT),
        );
        Self {
            html: html.into(),
            policy: policy.parse().expect("ASCII without control characters"),
        }
    }
}

/// What a policy calls an inline element with this content (Content Security Policy 3, section 2.3.1).
fn source(content: &str) -> String {
    let hash = digest(&SHA256, content.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// What stands between `begin` and `end`, of which there is one.
    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        let (_, rest) = text.split_once(begin).unwrap();
        let (inside, after) = rest.split_once(end).unwrap();
        assert!(!after.contains(begin), "two of {begin}");
        inside
    }

    #[tokio::test]
    async fn the_policy_allows_the_pages_own_style_and_script_and_nothing_else() {
        let response = page().await;
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let html = std::str::from_utf8(&body).unwrap();
        let style = source(between(html, "<style>", "</style>"));
        let script = source(between(html, "<script type=\"module\">", "</script>"));
        let policy = headers["content-security-policy"].to_str().unwrap();
        let directives: Vec<&str> = policy.split("; ").collect();
        assert_eq!(
            directives,
            [
                "default-src 'none'",
                &format!("style-src '{style}'"),
                &format!("script-src '{script}'"),
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "frame-ancestors 'none'",
                "form-action 'none'",
                "require-trusted-types-for 'script'",
            ]
        );
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    }

    #[test]
    fn a_hash_is_what_browsers_compute() {
        // echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
        let known = "sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=";
        assert_eq!(source("alert(1)"), known);
    }

    #[test]
    fn the_page_asks_for_nothing_outside_and_makes_no_markup_of_text() {
        let html = FRAME.replace("{style}", STYLE).replace("{script}", SCRIPT);
        let without_names = html
            .replace("xmlns='http://www.w3.org/2000/svg'", "")
            .replace("\"http://www.w3.org/2000/svg\"", "");
        for forbidden in [
            "http:",
            "https:",
            "//cdn",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "onclick=",
            "style=\"",
        ] {
            assert!(!without_names.contains(forbidden), "{forbidden}");
        }
    }
}

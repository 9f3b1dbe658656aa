//! Answers of others' ACME challenges: small files that certbot puts below a directory, for authorities
//! that look over plain HTTP (HTTP-01, RFC 8555 section 8.3).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Uri};
use axum::body::Body;
use axum::response::{IntoResponse, Response};

use super::context::Context;
use super::handlers::{not_found, refused_method};

/// Where authorities look, and certbot writes.
const BELOW: &str = ".well-known/acme-challenge";
/// More than any answer takes, which is a token, a dot and a digest.
const LONGEST: u64 = 1024;

/// The answer to a request that asks for a challenge's; nothing when it asks for something else.
pub(super) async fn answer(context: &Context, method: &Method, uri: &Uri) -> Option<Response> {
    let directory = context.snapshot.server.acme_webroot.as_ref()?;
    let token = token(uri.path())?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(refused_method().into_response());
    }
    let file = directory.join(BELOW).join(token);
    Some(match content(file).await {
        Some(content) => whole(content),
        None => not_found().into_response(),
    })
}

/// The last part of the path, if it is one that the protocol has: no other names a file here.
fn token(path: &str) -> Option<&str> {
    let token = path
        .strip_prefix('/')?
        .strip_prefix(BELOW)?
        .strip_prefix('/')?;
    let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    let fits = (1..=128).contains(&token.len());
    (fits && token.bytes().all(plain)).then_some(token)
}

async fn content(file: PathBuf) -> Option<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || read(&file)).await;
    read.ok().flatten()
}

fn read(file: &Path) -> Option<Vec<u8>> {
    // A pipe would be waited for.
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    let file = File::open(file).ok()?;
    file.take(LONGEST + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= LONGEST).then_some(content)
}

fn whole(content: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_names_a_file() {
        let at = |name: &str| token(&format!("/.well-known/acme-challenge/{name}")).is_some();
        assert!(at("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0") && at("a_b-C"));
        for wrong in [
            "",
            "..",
            "a/b",
            "../../etc/passwd",
            "%2e%2e",
            "a.b",
            "a b",
            "a\\b",
            "é",
        ] {
            assert!(!at(wrong), "{wrong}");
        }
        assert!(!at(&"a".repeat(129)));
        assert!(token("/.well-known/acme-challengex/a").is_none());
    }
}

//! Doors for the fuzzers in `fuzz/`; built for nothing else.

use url::{Position, Url};

use super::target::{Forwarded, Target};

/// Puts values of a request into a template: they change nothing but their own place.
pub fn target(template: &str, value: &str, query: &str) {
    let base = Url::parse("http://host/v1").expect("a URL");
    let Ok(target) = Target::parse(&base, Some(template), &["a"]) else {
        return;
    };
    // As the service cuts a query.
    let forwarded = query.split(['&', '#', ' ']).next().unwrap_or_default();
    let forwarded = [Forwarded {
        name: "q",
        raw: forwarded,
    }];
    let plain = target
        .path_and_query(&[("a", "x")], &[])
        .expect("a plain value");
    let Ok(hostile) = target.path_and_query(&[("a", value)], &forwarded) else {
        return;
    };
    assert!(hostile.is_ascii() && hostile.starts_with(b"/v1/"));
    let url = |target: &[u8]| {
        let text = String::from_utf8(target.to_vec()).expect("ASCII");
        let url = base.join(&text).expect("a target");
        // In a query, the library encodes an apostrophe.
        assert_eq!(
            &url[Position::BeforePath..Position::AfterPath],
            path_of(&text)
        );
        url
    };
    let (plain, hostile) = (url(&plain), url(&hostile));
    let segments = |url: &Url| url.path_segments().map(Iterator::count);
    assert_eq!(segments(&plain), segments(&hostile));
    assert_eq!(hostile.host_str(), Some("host"));
    assert_eq!(hostile.fragment(), None);
}

fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

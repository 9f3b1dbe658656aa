//! `url` of an upstream: one, or a list.

use super::{BASE, keys, problems, read, read_with};

/// The base with `value` as the URL of `work`.
fn with_url(value: &str) -> String {
    BASE.replacen("\"http://127.0.0.1:1234/\"", value, 1)
}

/// What `work` is called at.
fn urls(config: &crate::config::Config) -> Vec<&str> {
    let work = config.settings.upstreams.iter();
    let mut work = work.filter(|upstream| &*upstream.name == "work");
    let urls = work.next().unwrap().urls.iter();
    urls.map(url::Url::as_str).collect()
}

/// Lists that are wrong, and where, behind `upstreams.work.url`.
const WRONG: &[(&str, &[&str])] = &[
    ("[]", &[""]),
    ("5", &[""]),
    ("{ a = 1 }", &[""]),
    ("[5]", &["[0]"]),
    (r#"["http://a/", 5, "http://b/"]"#, &["[1]"]),
    (r#"[5, "http://a/", "http://a/"]"#, &["[0]", "[2]"]),
    (r#"["http://a/", "ftp://b/"]"#, &["[1]"]),
    (r#"["http://a/", "http://u:hush@b/"]"#, &["[1]"]),
    (r#"["http://a/", "https://b/"]"#, &["[1]"]),
    (r#"["http://a/x", "http://b/y"]"#, &["[1]"]),
    (r#"["http://a/?x=1", "http://b/?x=2"]"#, &["[1]"]),
    (r#"["http://a/", "http://b/?"]"#, &["[1]"]),
    (r#"["http://a/", "http://b/", "http://a/"]"#, &["[2]"]),
    (r#"["http://a", "http://A:80/"]"#, &["[1]"]),
    (
        r#"["no", "http://a/", "http://a/", "http://b/x", "http://c:0/"]"#,
        &["[0]", "[2]", "[3]", "[4]"],
    ),
];

#[test]
fn every_wrong_url_of_a_list_is_named_at_once() {
    for (value, places) in WRONG {
        let text = with_url(value);
        let expected = places.iter().map(|at| format!("upstreams.work.url{at}"));
        let problems = problems(&text);
        assert_eq!(
            keys(&text),
            expected.collect::<Vec<_>>(),
            "{value}\n{problems}"
        );
        assert!(!problems.to_string().contains("hush"), "{problems}");
        assert_eq!(problems.exit_code(), 64, "{problems}");
    }
}

#[test]
fn what_is_told_of_a_list_has_its_line_its_value_and_what_is_allowed() {
    let told = |value: &str| problems(&with_url(value)).to_string();
    let place = "config.toml:9: upstreams.work.url";
    assert_eq!(
        told("[]").trim_end(),
        format!("{place} = []: a list has 1 to 32 URLs, and this has 0")
    );
    let scheme = told("[\"http://a/\",\n\"https://b/\"]");
    let place = "config.toml:10: upstreams.work.url";
    let differ = "the URLs of a list differ in host and port only";
    assert!(
        scheme.starts_with(&format!("{place}[1] = \"https://b/\": {differ}")),
        "{scheme}"
    );
    let number = told("5");
    assert!(
        number.contains("url = 5: must be a string or a list of strings"),
        "{number}"
    );
}

#[test]
fn a_list_has_at_most_32_urls() {
    let list = |count: usize| {
        let urls: Vec<_> = (0..count).map(|host| format!("http://h{host}/")).collect();
        with_url(&format!("{urls:?}"))
    };
    assert_eq!(urls(&read(&list(32)).unwrap()).len(), 32);
    assert_eq!(keys(&list(33)), ["upstreams.work.url"]);
}

#[test]
fn one_url_and_a_list_of_one_are_the_same() {
    let settings = |value: &str| read(&with_url(value)).unwrap().settings;
    let (one, list) = (settings("\"http://h/\""), settings("[\"http://h/\"]"));
    assert_eq!(one.upstreams, list.upstreams);
}

#[test]
fn a_list_is_read_in_its_order_and_printed_as_a_list() {
    let value = r#"["https://b:8443/v1?k=1", "https://a/v1?k=1"]"#;
    let config = read(&with_url(value)).unwrap();
    assert_eq!(urls(&config), ["https://b:8443/v1?k=1", "https://a/v1?k=1"]);
    let settings = &config.settings.upstreams;
    let work = settings.iter().find(|it| &*it.name == "work").unwrap();
    assert_eq!(work.url().as_str(), "https://b:8443/v1?k=1");
    assert!(work.is_secure());
    let again = read(&config.print()).unwrap();
    assert_eq!(urls(&again), urls(&config));
    assert_eq!(again.print(), config.print());
}

#[test]
fn the_environment_sets_one_url_or_a_list() {
    let variable = "GATHERD_UPSTREAMS__WORK__URL";
    let list = [(variable, r#"["http://a/", "http://b/"]"#)];
    let config = read_with(BASE, &list).unwrap();
    assert_eq!(urls(&config), ["http://a/", "http://b/"]);
    let one = [(variable, "http://a/")];
    let config = read_with(&with_url(r#"["http://x/", "http://y/"]"#), &one).unwrap();
    assert_eq!(urls(&config), ["http://a/"]);
    let wrong = [(variable, r#"["http://a/", "http://a/"]"#)];
    let told = read_with(BASE, &wrong).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains(variable), "{told}");
}

#[test]
fn a_changed_list_is_a_change_of_the_url() {
    let config = |value: &str| read(&with_url(value)).unwrap();
    let changes = |before: &str, after: &str| config(before).changes(&config(after)).applied;
    let two = r#"["http://a/", "http://b/"]"#;
    let none: [&str; 0] = [];
    assert_eq!(changes(two, two), none);
    for other in [
        r#"["http://a/", "http://c/"]"#,
        r#"["http://a/", "http://b/", "http://c/"]"#,
        r#"["http://b/", "http://a/"]"#,
        r#"["http://a/"]"#,
        r#""http://a/""#,
    ] {
        assert_eq!(changes(two, other), ["upstreams.work.url"], "{other}");
        assert_eq!(changes(other, two), ["upstreams.work.url"], "{other}");
    }
}

#[test]
fn the_schema_says_that_both_are_allowed() {
    let schema = crate::config::schema();
    let urls = &schema["$defs"]["Urls"]["anyOf"];
    assert_eq!(urls[0]["type"], "string");
    assert_eq!(urls[1]["type"], "array");
    assert_eq!(urls[1]["items"]["type"], "string");
    assert_eq!(
        (&urls[1]["minItems"], &urls[1]["maxItems"]),
        (&1.into(), &32.into())
    );
}

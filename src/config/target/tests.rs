use proptest::prelude::*;

use super::*;

fn target(url: &str, template: &str) -> Result<Target, BadTemplate> {
    Target::parse(&Url::parse(url).unwrap(), Some(template), &["a", "b"])
}

/// The target as a whole URL.
fn url(template: &str, path: &[(&str, &str)], query: &[(&str, &str)]) -> Result<String, String> {
    let target = target("http://h:81/v1/", template).unwrap();
    expanded(&target, path, query)
        .map(|target| format!("http://h:81{target}"))
        .map_err(|bad| bad.name)
}

/// `query` are names, and what came of the whole parameter.
fn expanded(
    target: &Target,
    path: &[(&str, &str)],
    query: &[(&str, &str)],
) -> Result<String, BadParameter> {
    let query: Vec<_> = query
        .iter()
        .map(|(name, raw)| Forwarded { name, raw })
        .collect();
    let target = target.path_and_query(path, &query)?;
    Ok(String::from_utf8(target.to_vec()).unwrap())
}

#[test]
fn the_template_is_appended_to_the_path_of_the_url() {
    assert_eq!(
        url("/users/{a}", &[("a", "7")], &[]).unwrap(),
        "http://h:81/v1/users/7"
    );
    assert_eq!(url("/users", &[], &[]).unwrap(), "http://h:81/v1/users");
    assert_eq!(url("/", &[], &[]).unwrap(), "http://h:81/v1/");
    assert_eq!(
        url("/o?user={a}&x=1", &[("a", "7&y=2#")], &[]).unwrap(),
        "http://h:81/v1/o?user=7%26y%3D2%23&x=1"
    );
}

#[test]
fn without_a_template_the_url_is_the_target() {
    let base = Url::parse("https://h/api/work?key=1").unwrap();
    let target = Target::parse(&base, None, &[]).unwrap();
    assert_eq!(expanded(&target, &[], &[]).unwrap(), "/api/work?key=1");
    let with = expanded(&target, &[], &[("q", "q=a%20b%2F%C3%BC")]).unwrap();
    assert_eq!(with, "/api/work?key=1&q=a%20b%2F%C3%BC");
    assert_eq!(target.query_names(), ["key"]);
}

#[test]
fn values_are_percent_encoded_where_they_are_put_in() {
    let encoded = url("/x/{a}/y", &[("a", "p/q?r#s%41")], &[]).unwrap();
    assert_eq!(encoded, "http://h:81/v1/x/p%2Fq%3Fr%23s%2541/y");
}

#[test]
fn forwarded_parameters_are_passed_on_as_they_came() {
    for (raw, passed) in [
        ("q=caf%E9", "q=caf%E9"),
        ("%71=a+b%20c", "%71=a+b%20c"),
        ("q", "q"),
        ("q=", "q="),
        ("q=%zz%", "q=%zz%"),
        ("q=a|b\"[]^`{}\\", "q=a%7Cb%22%5B%5D%5E%60%7B%7D%5C"),
        ("q=\u{fc}", "q=%C3%BC"),
        ("q=/?:@!$'()*,", "q=/?:@!$'()*,"),
        ("q=a;b=c%3bd", "q=a%3Bb=c%3bd"),
    ] {
        let expected = Ok(format!("http://h:81/v1/x?{passed}"));
        assert_eq!(url("/x", &[], &[("q", raw)]), expected, "{raw}");
        let behind = Ok(format!("http://h:81/v1/x?k=1&{passed}&r=2"));
        assert_eq!(
            url("/x?k=1", &[], &[("q", raw), ("r", "r=2")]),
            behind,
            "{raw}"
        );
    }
    assert_eq!(
        url("/x?", &[], &[("q", "q=1")]).unwrap(),
        "http://h:81/v1/x?q=1"
    );
}

#[test]
fn literals_are_encoded_as_a_url_has_them() {
    let encoded = url("/\u{fc}{a}\u{e9}/z?k=\u{fc}'{a}", &[("a", "1")], &[]).unwrap();
    assert_eq!(encoded, "http://h:81/v1/%C3%BC1%C3%A9/z?k=%C3%BC%271");
    let fixed = url("/\u{fc}?\u{e9}", &[], &[]).unwrap();
    assert_eq!(fixed, "http://h:81/v1/%C3%BC?%C3%A9");
}

#[test]
fn a_value_that_would_climb_is_refused_and_named() {
    for value in [".", "..", "../x", "x/..", "..\\x", "a/./b", "x/../../y"] {
        assert_eq!(
            url("/x/{a}", &[("a", value)], &[]),
            Err("a".to_owned()),
            "{value}"
        );
    }
    for value in [".", "./x"] {
        assert_eq!(
            url("/x/.{a}", &[("a", value)], &[]),
            Err("a".to_owned()),
            "{value}"
        );
    }
    assert_eq!(
        url("/{a}{b}", &[("a", "."), ("b", ".")], &[]),
        Err("a".to_owned())
    );
    assert_eq!(url("/x/{a}", &[("a", "a\0b")], &[]), Err("a".to_owned()));
    assert_eq!(url("/x", &[], &[("q", "q=a%0D%0Ab")]), Err("q".to_owned()));
    assert_eq!(url("/x", &[], &[("q", "q=a\u{7f}")]), Err("q".to_owned()));
    assert!(url("/x/{a}", &[("a", "...")], &[]).is_ok());
    assert!(url("/x?q={a}", &[("a", "..")], &[]).is_ok());
}

#[test]
fn a_template_that_could_leave_its_place_is_refused() {
    for wrong in [
        "users",
        "",
        "/a#b",
        "/a/../b",
        "/./a",
        "/%2e%2e/a",
        "/a%2Fb",
        "/a\\b",
        "/a b",
        "/{",
        "/}",
        "/{c}",
        "/{}",
        "/{a",
        "/x?{a}=1",
        "/x?{a}",
        "/{{a}}",
        "/x\n",
    ] {
        assert!(target("http://h/", wrong).is_err(), "{wrong}");
    }
    assert_eq!(target("http://h/?x=1", "/y"), Err(BadTemplate::QueryInUrl));
}

#[test]
fn the_names_that_a_template_sets_are_known() {
    let target = target("http://h/", "/x?us%65r={a}&lang=de&flag").unwrap();
    assert_eq!(target.query_names(), ["user", "lang", "flag"]);
}

fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("/".to_owned()),
        Just("\\".to_owned()),
        Just("%2e".to_owned()),
        Just("//evil.test:99/".to_owned()),
        Just("@".to_owned()),
        Just("?x=1&y".to_owned()),
        Just("#".to_owned()),
        Just("\t".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_hostile_value_changes_nothing_but_its_own_place(
        a in hostile(), b in hostile(), q in hostile(),
    ) {
        let target = target("http://h:81/v1/", "/x/.{a}/y/{b}/z?u={a}&k=1").unwrap();
        let mut raw = "q=".to_owned();
        encode(&q, &mut raw);
        let Ok(expanded) = expanded(&target, &[("a", &a), ("b", &b)], &[("q", &raw)]) else {
            return Ok(());
        };
        let url = Url::parse("http://h:81").unwrap().join(&expanded).unwrap();
        prop_assert_eq!(&url[url::Position::BeforePath..], &expanded);
        prop_assert_eq!(url.scheme(), "http");
        prop_assert_eq!(url.host_str(), Some("h"));
        prop_assert_eq!(url.port(), Some(81));
        prop_assert_eq!(url.username(), "");
        prop_assert_eq!(url.fragment(), None);
        let segments: Vec<_> = url.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 6);
        prop_assert_eq!((segments[0], segments[1], segments[3], segments[5]), ("v1", "x", "y", "z"));
        prop_assert!(segments[2].starts_with('.'));
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let expected = [("u", a.as_str()), ("k", "1"), ("q", q.as_str())];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        prop_assert_eq!(pairs, expected.to_vec());
        prop_assert_eq!(Url::parse(url.as_str()).unwrap(), url);
    }
}

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

#[test]
fn a_document_is_nested_at_most_128_deep() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_document(nested(128).as_bytes()));
    assert!(!is_document(nested(129).as_bytes()));
    assert!(!is_document("[".repeat(1 << 20).as_bytes()));
    let objects = |depth: usize| format!("{}1{}", "{\"a\": ".repeat(depth), "}".repeat(depth));
    assert!(is_document(objects(128).as_bytes()));
    assert!(!is_document(objects(129).as_bytes()));
}

#[test]
fn two_documents_an_empty_body_and_bad_utf8_are_none() {
    for body in [
        &b"{} {}"[..],
        b"",
        b" ",
        b"1 2",
        b"\"\xff\"",
        b"\xef\xbb\xbf1",
        b"\"\xed\xa0\x80\"",
    ] {
        assert!(!is_document(body), "{body:?}");
    }
    for body in [
        &b" {\"a\":[1,{}]}\r\n"[..],
        b"null",
        "\"\u{10ffff}\"".as_bytes(),
    ] {
        assert!(is_document(body), "{body:?}");
    }
}

#[test]
fn a_character_that_may_not_stand_in_a_string_is_found_wherever_it_is() {
    for before in 0..70 {
        let text = |what: &str| format!("\"{}{what}{}\"", "x".repeat(before), "y".repeat(40));
        assert!(is_document(text("é\\n").as_bytes()), "{before}");
        for wrong in ["\u{1}", "\n", "\\x", "\"", "\\u12"] {
            assert!(!is_document(text(wrong).as_bytes()), "{before} {wrong:?}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_left_out() {
    let accepted = |body: &'static str| document(Bytes::from_static(body.as_bytes()));
    assert_eq!(accepted("\u{feff}[1]").as_deref(), Some(&b"[1]"[..]));
    assert_eq!(accepted("[1]").as_deref(), Some(&b"[1]"[..]));
    for wrong in ["\u{feff}", "\u{feff}\u{feff}1", " \u{feff}1", "1\u{feff}"] {
        assert_eq!(accepted(wrong), None, "{wrong:?}");
    }
}

#[test]
fn the_first_byte_that_is_no_digit_is_found_among_eight() {
    for place in 0..8 {
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            let mut number = *b"[1234567890123]";
            number[1 + place] = byte;
            assert_agrees(&number);
            assert_agrees(&number[1..]);
            assert_agrees(&number[1..9]);
        }
    }
}

const RIGHT: &[&str] = &[
    r#"{"a":[1,{"b":"\\\"","c":[[],{ }]},-0.5e+7],"":true,"\u00e9":null,"é":false}"#,
    r#"[ "," , ":" , "{" , "]" , "\\" , 12345678901234567890.123456789 ]"#,
    "1.5",
    "true",
    "\"text\"",
];

const WRONG: &[&str] = &[
    "1,[2]",
    "[1],2",
    "[1]:2",
    "1:[2]",
    "\"a\":1",
    "\"a\",1",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "[[1][2]]",
    "[\"a\"\"b\"]",
    "[\"a\":1]",
    "[1:2]",
    "[{}:1]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{\"a\":1,\"b\"}",
    "{\"a\",\"b\":1}",
    "{\"a\":1:2}",
    "{\"a\":\"b\":1}",
    "{,}",
    "{1:2}",
    "{[]:2}",
    "{\"a\":1,[]:2}",
    "{[1]}",
    "{\"a\":1,2}",
    "{true}",
    "[}",
    "{]",
    "[{]}",
    "]",
    "[1]]",
    "[",
    "{\"a\":[}",
    "[1\"a\"]",
    "[\"a\"1]",
    "[truee]",
    "[tru]",
    "[nul",
    "[01]",
    "[-]",
    "[1.]",
    "[.5]",
    "[1e]",
    "[1e+]",
    "[+1]",
    "[1.5.5]",
    "[1-1]",
    "[0x1]",
    "[\\\"a\"]",
    "[\"a\\\"]",
    "[\"a\nb\"]",
    "[\"a\\x\"]",
    "[\"\\u12g4\"]",
    "[\u{b}1]",
    "[\u{a0}1]",
    "[é]",
];

#[test]
fn a_document_is_the_same_wherever_in_a_block_its_tokens_are() {
    for (texts, expected) in [(RIGHT, true), (WRONG, false)] {
        for text in texts {
            for before in 0..130 {
                let spaces = " ".repeat(before);
                assert_eq!(is_document((spaces + text).as_bytes()), expected, "{text}");
                let within = format!("[\"{}\",{text}]", "x".repeat(before));
                assert_agrees(within.as_bytes());
                let spread = text.replace(",", &format!("{},", "\n".repeat(before)));
                assert_agrees(spread.as_bytes());
            }
        }
    }
}

#[test]
fn a_pointer_selects_the_bytes_as_they_came() {
    let body = Bytes::from_static(br#" {"a~b": [ 1.0e2 , {"c/d":  "x" }], "": 3} "#);
    let selected = |pointer| select(&body, pointer);
    assert_eq!(selected("/a~0b/0").as_deref(), Some(&b"1.0e2"[..]));
    assert_eq!(selected("/a~0b/1/c~1d").as_deref(), Some(&b"\"x\""[..]));
    assert_eq!(selected("/").as_deref(), Some(&b"3"[..]));
    assert_eq!(selected("").map(|all| all.len()), Some(body.len() - 2));
    for nothing in [
        "/a~0b/2",
        "/a~0b/00",
        "/a~0b/+1",
        "/a~0b/-",
        "/x",
        "/a~0b/0/0",
    ] {
        assert_eq!(selected(nothing), None, "{nothing}");
    }
}

/// serde_json checks neither depth nor UTF-8 in what it skips.
fn assert_agrees(body: &[u8]) {
    let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let expected = is_json && std::str::from_utf8(body).is_ok();
    let text = String::from_utf8_lossy(body);
    assert_eq!(is_document(body), expected, "{text}");
}

proptest! {
    #[test]
    fn it_agrees_with_serde_json(body in r#"[\[\]{}",:\\u0-9eE+\-.tfnrualsx \n\x00é]{0,24}"#) {
        assert_agrees(body.as_bytes());
    }

    #[test]
    fn it_agrees_with_serde_json_about_tokens(tokens in prop::collection::vec(any_token(), 0..40)) {
        assert_agrees(tokens.concat().as_bytes());
    }

    #[test]
    fn it_agrees_with_serde_json_about_documents_with_changes(
        value in any_value(),
        is_pretty in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_change()), 0..3),
    ) {
        let written = if is_pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let mut body = written.expect("values can be written");
        for (place, change) in changes {
            let place = place.index(body.len() + 1);
            let removed = change.is_none() || place % 2 == 0;
            let end = body.len().min(place + usize::from(removed));
            body.splice(place..end, change);
        }
        assert_agrees(&body);
    }

    #[test]
    fn it_accepts_what_serde_json_writes_and_notices_what_is_cut(
        value in any_value(), cut in any::<prop::sample::Index>()
    ) {
        let text = serde_json::to_string(&vec![value]).expect("values can be written");
        prop_assert!(is_document(text.as_bytes()));
        prop_assert!(!is_document(&text.as_bytes()[..cut.index(text.len())]));
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A byte that is put in, or none.
fn any_change() -> impl Strategy<Value = Option<u8>> {
    let of_grammar = prop::sample::select(&b"[]{},:\"\\ \n0-.etu"[..]);
    prop::option::weighted(0.8, prop_oneof![of_grammar, any::<u8>()])
}

fn any_token() -> impl Strategy<Value = String> {
    let of_grammar = r#"[\[\]{},:]|"[a-z,\]}]{0,70}"|"k":|-?[0-9]{1,20}(\.[0-9]{1,9})?(e-?[0-9])?"#;
    let literals = prop::sample::select(vec!["true", "false", "null", "[]", "{}", "[{"]);
    prop_oneof![
        6 => of_grammar,
        2 => literals.prop_map(str::to_owned),
        1 => "[ \t\r\n]{1,70}",
    ]
}

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

#[test]
fn a_document_is_nested_at_most_128_deep() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_document(nested(128).as_bytes()));
    assert!(!is_document(nested(129).as_bytes()));
    assert!(!is_document("[".repeat(1 << 20).as_bytes()));
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
fn the_first_byte_that_does_not_stand_for_itself_is_found_among_eight() {
    for place in 0..8 {
        for byte in 0..=u8::MAX {
            for around in [*b"abcdefgh", [0xc3; 8], [b'!'; 8], [b'#'; 8], [b']'; 8]] {
                let mut block = around;
                block[place] = byte;
                let first = block.iter().position(|byte| !is_plain(*byte));
                let ends = ends_of_plain_text(u64::from_le_bytes(block));
                let found = (ends != 0).then(|| ends.trailing_zeros() as usize / 8);
                assert_eq!(found, first, "{block:?}");
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

proptest! {
    #[test]
    fn it_agrees_with_serde_json(body in r#"[\[\]{}",:\\u0-9eE+\-.tfnrualsx \n\x00é]{0,24}"#) {
        let theirs = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        prop_assert_eq!(is_document(body.as_bytes()), theirs, "{}", body);
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

#[test]
fn a_byte_order_mark_is_left_out() {
    let marked = |text: &str| document(Bytes::from([BYTE_ORDER_MARK, text.as_bytes()].concat()));
    assert_eq!(marked("{\"a\":1}").as_deref(), Some(&b"{\"a\":1}"[..]));
    for nothing in ["", "x", "\u{feff}1"] {
        assert_eq!(marked(nothing), None, "{nothing:?}");
    }
}

//! Text that came from outside, made harmless: it cannot end a line, move a cursor, or turn what is
//! shown around.

use std::fmt::{self, Write};

/// Writes escaped text to the end of a line.
///
/// The escapes are those of JSON strings (RFC 8259 section 7), in text lines too.
pub(super) struct Escaped<'a>(pub(super) &'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Most of what is logged is plain ASCII.
        if is_plain(text) {
            self.0.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for character in text.chars() {
            push(self.0, character);
        }
        Ok(())
    }
}

/// Whether `text` stands for itself in a JSON string.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\');
    // Sixteen bytes are looked at in one step, since none of them ends it early.
    let (chunks, rest) = text.as_bytes().as_chunks::<16>();
    let mut chunks = chunks.iter();
    chunks.all(|chunk| {
        chunk
            .iter()
            .fold(true, |plain, byte| plain & is_plain(byte))
    }) && rest.iter().all(is_plain)
}

fn push(line: &mut Vec<u8>, character: char) {
    match character {
        '"' => line.extend_from_slice(b"\\\""),
        '\\' => line.extend_from_slice(b"\\\\"),
        '\n' => line.extend_from_slice(b"\\n"),
        '\r' => line.extend_from_slice(b"\\r"),
        '\t' => line.extend_from_slice(b"\\t"),
        other if is_hidden(other) => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                // Writing to a vector cannot fail.
                let _ = io_write(line, format_args!("\\u{unit:04x}"));
            }
        }
        other => line.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Characters that are not seen, but change what is: control characters (C0, DEL, C1), separators of
/// lines, joiners and marks without width, and the ones that reorder text (UAX #9) or tag it.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Formats to the end of a line.
pub(super) fn io_write(line: &mut Vec<u8>, text: fmt::Arguments<'_>) -> std::io::Result<()> {
    std::io::Write::write_fmt(line, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut line = Vec::new();
        Escaped(&mut line).write_str(text).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn what_is_hidden_is_shown_and_what_is_seen_stays() {
        for (text, shown) in [
            ("/api/all", "/api/all"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\0\u{1b}[31m\u{7f}", "\\u0000\\u001b[31m\\u007f"),
            ("\u{85}\u{9b}2J", "\\u0085\\u009b2J"),
            ("a\u{2028}b\u{2029}", "a\\u2028b\\u2029"),
            (
                "\u{202e}txt\u{2066}\u{200f}\u{61c}",
                "\\u202etxt\\u2066\\u200f\\u061c",
            ),
            ("\u{feff}\u{200b}\u{e0041}", "\\ufeff\\u200b\\udb40\\udc41"),
            ("say \"x\" \\n", "say \\\"x\\\" \\\\n"),
            ("Žluťoučký 馬 🐎", "Žluťoučký 馬 🐎"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn escaped_text_is_one_line_and_the_same_text_to_json(text in "\\PC*|.*") {
            let shown = escaped(&text);
            proptest::prop_assert!(!shown.chars().any(is_hidden));
            let back: String = serde_json::from_str(&format!("\"{shown}\"")).unwrap();
            proptest::prop_assert_eq!(back, text);
        }
    }
}

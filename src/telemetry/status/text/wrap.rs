//! Lines that a terminal shows whole.

/// Columns of a terminal as it usually opens.
pub(super) const COLUMNS: usize = 80;
/// What the rest of a sentence begins with.
const INDENT: &str = "    ";

/// Breaks lines that are too long at spaces; a word stays whole, however long.
pub(super) fn wrapped(text: &str) -> String {
    text.lines().map(wrapped_line).collect()
}

fn wrapped_line(line: &str) -> String {
    let mut wrapped = String::new();
    let mut rest = line.to_owned();
    while let Some((one, others)) = split(&rest) {
        wrapped.push_str(one);
        wrapped.push('\n');
        rest = format!("{INDENT}{others}");
    }
    wrapped + &rest + "\n"
}

/// The part of a line that fits, and what is left of it; nothing when all fits.
fn split(line: &str) -> Option<(&str, &str)> {
    let (end, _) = line.char_indices().nth(COLUMNS)?;
    let words = line.len() - line.trim_start().len();
    let space = |text: &str| text.rfind(' ').filter(|&at| at > words);
    // A space just after the last column will do; a word that is too long ends where it ends.
    let next = || Some(words + line.get(words..)?.find(' ')?);
    let at = space(line.get(..=end).unwrap_or(line)).or_else(next)?;
    Some((line.get(..at)?.trim_end(), line.get(at..)?.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_lose_no_word() {
        let sentence = "!! upstream work: ".to_owned() + &"none of it ends well, ".repeat(20);
        let text = wrapped(&sentence);
        assert!(
            text.lines().all(|line| line.chars().count() <= COLUMNS),
            "{text}"
        );
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&text), words(&sentence));
        assert!(text.lines().skip(1).all(|line| line.starts_with(INDENT)));
    }

    #[test]
    fn what_fits_stays_as_it_is_and_a_long_word_stays_whole() {
        let just = "a".repeat(39) + " " + &"b".repeat(40);
        assert_eq!(wrapped(&just), format!("{just}\n"));
        assert_eq!(wrapped("\nx\n"), "\nx\n");
        let long = "é".repeat(200);
        assert_eq!(wrapped(&long), format!("{long}\n"));
        assert_eq!(
            wrapped(&format!("  {long} b")),
            format!("  {long}\n    b\n")
        );
        let beside = format!("{} b", "a".repeat(80));
        assert_eq!(wrapped(&beside), format!("{}\n    b\n", "a".repeat(80)));
    }
}

//! The grammar of a document, 64 bytes at a time.
//!
//! Where in a block the bytes of a kind are is a number with a bit for each byte. What may follow what
//! is then found for all tokens of a block at once, by a few operations on such numbers, whose course
//! does not depend on the text. One by one go only brackets, for the nesting, and numbers and literals.
//!
//! The grammar, as it is looked at here: a value is expected after `[`, `{`, `,` and `:`, and nowhere
//! else. Where one is expected, there is one; only after `[` and `{` may be the closing bracket. In an
//! array there is no colon. In an object, each value that does not follow a colon is a string that a
//! colon follows, and no other value is.

use wide::u8x16;

use super::bits::{
    BLOCK, CHUNK, Chunks, OBJECT, all, between, bits, chunks, is, is_bracket, is_control,
};
use super::scalar;

/// How deep arrays and objects may be nested; one bit of [`Nesting`] each.
const MAX_DEPTH: u32 = u128::BITS;

/// What has been seen of a document, and what it means for the next block.
pub(super) struct Structure<'a> {
    body: &'a [u8],
    /// Where the block at hand begins.
    at: usize,
    /// After the bracket that closes the document.
    end: Option<usize>,
    nesting: Nesting,
    /// The bytes so far, one upon the other.
    seen: u8x16,
    /// All bits if the block before ends in a string.
    in_string: u64,
    // The others are the lowest bit of the next block: 0 or 1.
    is_escaped: u64,
    in_scalar: u64,
    in_name: u64,
    expected: u64,
    opened: u64,
    named: u64,
    after_name: u64,
}

/// The tokens of a block, a bit where each begins, and what is between.
struct Tokens {
    strings: u64,
    scalars: u64,
    opening: u64,
    closing: u64,
    commas: u64,
    colons: u64,
    /// All of the white space outside of strings.
    spaces: u64,
    /// Strings with their first quote and without their last.
    in_string: u64,
    last_quotes: u64,
}

/// The arrays and objects that are open: one bit each, set for an object.
#[derive(Default)]
struct Nesting {
    objects: u128,
    depth: u32,
}

impl<'a> Structure<'a> {
    /// Nothing if `body` is not one document, in whatever its strings are encoded.
    pub(super) fn of(body: &'a [u8]) -> Option<Self> {
        let mut structure = Self {
            body,
            at: 0,
            end: None,
            nesting: Nesting::default(),
            seen: u8x16::ZERO,
            in_string: 0,
            is_escaped: 0,
            in_scalar: 0,
            in_name: 0,
            // A document is a value.
            expected: 1,
            opened: 0,
            named: 0,
            after_name: 0,
        };
        structure.document()?;
        Some(structure)
    }

    /// Whether all bytes are ASCII.
    pub(super) fn is_ascii(&self) -> bool {
        self.seen.to_bitmask() == 0
    }

    #[inline]
    fn document(&mut self) -> Option<()> {
        while let Some(rest) = self.body.get(self.at..).filter(|rest| !rest.is_empty()) {
            // Many bodies are small.
            let tokens = if rest.len() <= CHUNK {
                self.tokens::<1>(&chunks(rest))?
            } else {
                self.tokens::<4>(&chunks(rest))?
            };
            if let Some(tokens) = tokens {
                let unnamed = self.order(&tokens)?;
                self.brackets(&tokens, unnamed)?;
                self.scalars(tokens.scalars)?;
            }
            if let Some(end) = self.end {
                let rest = self.body.get(end..)?;
                let mut spaces = rest.iter();
                return spaces
                    .all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
                    .then_some(());
            }
            self.at += BLOCK;
        }
        let is_whole = self.nesting.depth == 0 && self.in_string == 0 && self.expected == 0;
        is_whole.then_some(())
    }

    /// Nothing inside of the result if the whole block is the middle of a string.
    #[inline(always)]
    fn tokens<const CHUNKS: usize>(&mut self, block: &Chunks<CHUNKS>) -> Option<Option<Tokens>> {
        let mut quotes = bits(block, |chunk| is(chunk, b'"'));
        let mut special = u8x16::ZERO;
        for chunk in block {
            self.seen |= *chunk;
            special |= is(*chunk, b'\\') | is_control(*chunk);
        }
        let mut controls = 0;
        if special.to_bitmask() != 0 || self.is_escaped != 0 {
            controls = white_controls(block)?;
            quotes &= !self.escaped(bits(block, |chunk| is(chunk, b'\\')))?;
        } else if quotes == 0 && self.in_string != 0 {
            return Some(None);
        }
        let in_string = between(quotes) ^ self.in_string;
        self.in_string = all(in_string >> (BLOCK - 1) == 1);
        if controls & in_string != 0 {
            return None;
        }
        let outside = !in_string;
        let beyond = u64::MAX << (CHUNK * CHUNKS - 1) << 1;
        let spaces = (bits(block, |chunk| is(chunk, b' ')) | controls | beyond) & outside;
        let opening = bits(block, |chunk| is_bracket(chunk, b'[')) & outside;
        let closing = bits(block, |chunk| is_bracket(chunk, b']')) & outside;
        let commas = bits(block, |chunk| is(chunk, b',')) & outside;
        let colons = bits(block, |chunk| is(chunk, b':')) & outside;
        let in_scalar = !(in_string | quotes | spaces | opening | closing | commas | colons);
        let scalars = in_scalar & !(in_scalar << 1 | self.in_scalar);
        self.in_scalar = in_scalar >> (BLOCK - 1);
        Some(Some(Tokens {
            strings: quotes & in_string,
            scalars,
            opening,
            closing,
            commas,
            colons,
            spaces,
            in_string,
            last_quotes: quotes & outside,
        }))
    }

    /// The bytes that follow a backslash.
    fn escaped(&mut self, backslashes: u64) -> Option<u64> {
        let mut escaped = self.is_escaped;
        let mut backslashes = backslashes & !escaped;
        self.is_escaped = 0;
        while backslashes != 0 {
            let place = backslashes.trailing_zeros() as usize;
            if !scalar::is_escape(self.body.get(self.at + place + 1..)?) {
                return None;
            }
            if place == BLOCK - 1 {
                self.is_escaped = 1;
            }
            let next = 1 << place << 1;
            escaped |= next;
            backslashes &= !(1 << place | next);
        }
        Some(escaped)
    }

    /// Which token may follow which. Gives what must not be in an object: the values without a name, or
    /// what is in the place of the colon after it.
    #[inline(always)]
    fn order(&mut self, tokens: &Tokens) -> Option<u64> {
        let Tokens {
            strings,
            opening,
            colons,
            spaces,
            ..
        } = *tokens;
        let values = strings | tokens.scalars | opening;
        let expecting = opening | tokens.commas | colons;
        let expected = after(expecting, spaces, &mut self.expected);
        let opened = after(opening, spaces, &mut self.opened);
        let named = after(colons, spaces, &mut self.named);
        if values ^ expected ^ (tokens.closing & opened) != 0 {
            return None;
        }
        // In an object, these are the names.
        let first = values & !named;
        // The sum carries from the beginning of a string to its end.
        let (ends, goes_on) = tokens
            .in_string
            .overflowing_add(first & strings | self.in_name);
        self.in_name = goes_on.into();
        let after_name = after(ends & tokens.last_quotes, spaces, &mut self.after_name);
        Some(after_name ^ colons | first & !strings)
    }

    /// What depends on whether it is in an array or in an object.
    #[inline(always)]
    fn brackets(&mut self, tokens: &Tokens, unnamed: u64) -> Option<()> {
        let mut brackets = tokens.opening | tokens.closing;
        let before_all = brackets ^ brackets.wrapping_sub(1);
        if self.nesting.depth == 0 && tokens.commas & before_all != 0 {
            return None;
        }
        let mut in_object = all(self.nesting.in_object());
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            let up_to_here = brackets ^ (brackets - 1);
            brackets &= brackets - 1;
            let is_object = self.body.get(self.at + place)? & OBJECT != 0;
            if tokens.opening >> place & 1 == 1 {
                self.nesting.open(is_object)?;
            } else {
                self.nesting.close(is_object)?;
                if self.nesting.depth == 0 {
                    self.end = Some(self.at + place + 1);
                    break;
                }
            }
            in_object = in_object & up_to_here | all(self.nesting.in_object()) & !up_to_here;
        }
        let wrong = in_object & unnamed | !in_object & tokens.colons;
        (wrong == 0).then_some(())
    }

    #[inline(always)]
    fn scalars(&self, mut scalars: u64) -> Option<()> {
        while scalars != 0 {
            let place = scalars.trailing_zeros() as usize;
            scalars &= scalars - 1;
            scalar::begins(self.body.get(self.at + place..)?)?;
        }
        Some(())
    }
}

/// The control characters, if all are white space.
fn white_controls<const CHUNKS: usize>(block: &Chunks<CHUNKS>) -> Option<u64> {
    let controls = bits(block, is_control);
    let white = bits(block, |chunk| {
        is(chunk, b'\t') | is(chunk, b'\n') | is(chunk, b'\r')
    });
    (controls == white).then_some(controls)
}

/// The token after each of `tokens`, over white space: the sum carries from its first byte to behind its
/// last.
#[inline(always)]
fn after(tokens: u64, spaces: u64, carry: &mut u64) -> u64 {
    let (next, goes_on) = (tokens << 1 | *carry).overflowing_add(spaces);
    *carry = (tokens >> (BLOCK - 1)) + u64::from(goes_on);
    next & !spaces
}

impl Nesting {
    #[inline]
    fn open(&mut self, is_object: bool) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        Some(())
    }

    #[inline]
    fn close(&mut self, is_object: bool) -> Option<()> {
        if self.depth == 0 || is_object != self.in_object() {
            return None;
        }
        self.depth -= 1;
        self.objects >>= 1;
        Some(())
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

//! A small body that unpacks to a large one.

use std::sync::LazyLock;

use bytes::Bytes;

/// Matches of 258 bytes, the longest there are.
const MATCHES: u32 = 40_642;

/// Zeros it unpacks to: one, and the matches that repeat it.
const UNPACKED: u32 = 1 + 258 * MATCHES;

/// CRC-32 of `length` zeros.
const CHECKSUM: u32 = 0xca5a_1ab7;

/// A gzip file (RFC 1952) of 10 MiB of zeros.
pub(super) fn bomb() -> Bytes {
    static BOMB: LazyLock<Bytes> = LazyLock::new(pack);
    BOMB.clone()
}

fn pack() -> Bytes {
    let mut bits = Bits::default();
    bits.push(0b011, 3); // the last block, with fixed codes (RFC 1951, section 3.2.6)
    bits.push(0b0000_1100, 8); // the literal 0, as codes are packed: from their highest bit
    for _ in 0..MATCHES {
        bits.push(0b1010_0011, 8); // a match of 258 bytes,
        bits.push(0, 5); // one byte back
    }
    bits.push(0, 7); // the end of the block
    bits.push(0, 7); // to the end of the byte
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let trailer = [CHECKSUM.to_le_bytes(), UNPACKED.to_le_bytes()].concat();
    [header.as_slice(), &bits.bytes, &trailer].concat().into()
}

/// Bytes filled from their lowest bit.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u8,
    count: u8,
}

impl Bits {
    /// Adds the `count` lowest bits of `value`.
    fn push(&mut self, value: u8, count: u8) {
        for bit in 0..count {
            self.pending |= ((value >> bit) & 1) << self.count;
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(std::mem::take(&mut self.pending));
                self.count = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bomb_is_small_and_ends_with_its_checksum() {
        let bomb = bomb();
        assert!(bomb.len() < 70_000, "{}", bomb.len());
        assert!(bomb.ends_with(&UNPACKED.to_le_bytes()));
    }
}

//! Where in a block of bytes are those of a kind? A bit each, the first byte the lowest.
//!
//! `wide` compares sixteen bytes at once with what every processor of the architecture has.

use wide::u8x16;

/// Bytes of a whole block.
pub(super) const BLOCK: usize = u64::BITS as usize;
/// Bytes that are compared at once.
pub(super) const CHUNK: usize = 16;

/// A block, or the beginning of one: `CHUNKS` times sixteen bytes.
pub(super) type Chunks<const CHUNKS: usize> = [u8x16; CHUNKS];

/// The block that `rest` begins with. White space stands for what is not there.
#[inline]
pub(super) fn chunks<const CHUNKS: usize>(rest: &[u8]) -> Chunks<CHUNKS> {
    std::array::from_fn(|index| {
        let rest = rest.get(CHUNK * index..).unwrap_or_default();
        match rest.first_chunk() {
            Some(chunk) => u8x16::new(*chunk),
            None => short_chunk(rest),
        }
    })
}

/// Less than sixteen bytes. A copy into an array would make the processor wait for its own writes.
#[inline]
fn short_chunk(rest: &[u8]) -> u8x16 {
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    let bits = 8 * (rest.len() % 8);
    let (low, high) = match (rest.first_chunk(), rest.last_chunk()) {
        (Some(low), Some(last)) => {
            // The last eight bytes without those that are in the first eight.
            let last = u64::from_le_bytes(*last);
            let high = last >> 1 >> (63 - bits);
            (u64::from_le_bytes(*low), high | SPACES << bits)
        }
        _ => (low_first(rest) | SPACES << bits, SPACES),
    };
    u8x16::new((u128::from(low) | u128::from(high) << 64).to_le_bytes())
}

/// Less than eight bytes as a number, the first of them the lowest.
#[inline]
pub(super) fn low_first(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // They may overlap.
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
        return u64::from(u32::from_le_bytes(*first)) | last;
    }
    let last_first = bytes.iter().rev();
    last_first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The bytes that `is` finds: it gives 255 for them, and else 0.
#[inline]
pub(super) fn bits<const CHUNKS: usize>(
    block: &Chunks<CHUNKS>,
    is: impl Fn(u8x16) -> u8x16,
) -> u64 {
    let last_first = block.iter().rev();
    last_first.fold(0, |bits, chunk| {
        bits << CHUNK | u64::from(is(*chunk).to_bitmask())
    })
}

/// Which bytes are `byte`.
#[inline]
pub(super) fn is(chunk: u8x16, byte: u8) -> u8x16 {
    chunk.simd_eq(u8x16::splat(byte))
}

/// Which bytes are `[` or `{`, or `]` or `}`: they differ in one bit.
#[inline]
pub(super) fn is_bracket(chunk: u8x16, bracket: u8) -> u8x16 {
    is(chunk & u8x16::splat(!OBJECT), bracket & !OBJECT)
}

/// The bit of a bracket that says that it is an object's.
pub(super) const OBJECT: u8 = b'{' ^ b'[';

/// Which bytes are below the space.
#[inline]
pub(super) fn is_control(chunk: u8x16) -> u8x16 {
    chunk.min(u8x16::splat(b' ' - 1)).simd_eq(chunk)
}

/// Everything or nothing.
#[inline]
pub(super) fn all(set: bool) -> u64 {
    u64::from(set).wrapping_neg()
}

/// For each bit of `flips`, in turn, bits are set from there on or no more.
#[inline]
pub(super) fn between(flips: u64) -> u64 {
    [1, 2, 4, 8, 16, 32]
        .iter()
        .fold(flips, |bits, width| bits ^ bits << width)
}

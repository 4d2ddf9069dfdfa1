//! Fixed-width bit packing, lowest bit first: value `i` of width `w` stands at bits `i*w .. (i+1)*w` of the bytes.
//!
//! Widths go from 0 (nothing is stored) to 64. Unpacking reads whole words at computed places, so that a value
//! costs a load, a shift and a mask, whatever came before it.

use opendata_core::{Error, Result};

/// How many bits a number needs; none for zero.
pub(super) fn width_of(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// How many bytes `count` values of `width` bits take.
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    count.saturating_mul(width as usize).div_ceil(8)
}

/// Appends the values, which must fit `width` bits.
pub(super) fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    let mut word = 0u128;
    let mut bits = 0;
    for value in values {
        word |= u128::from(value) << bits;
        bits += width;
        while bits >= 64 {
            #[expect(clippy::cast_possible_truncation, reason = "the low 64 bits are taken")]
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            bits -= 64;
        }
    }
    let rest = bits.div_ceil(8) as usize;
    out.extend(word.to_le_bytes().into_iter().take(rest));
}

/// Appends `count` values of `width` bits to `out`.
///
/// # Errors
/// `Corrupt` if the width is over 64 or the bytes are not exactly as many as needed.
pub(super) fn unpack(bytes: &[u8], count: usize, width: u32, out: &mut Vec<u64>) -> Result<()> {
    if width > 64 || bytes.len() != packed_len(count, width) {
        return Err(Error::corrupt(format!("packed column of a wrong length, count={count}, width={width}")));
    }
    if width == 0 {
        out.resize(out.len() + count, 0);
        return Ok(());
    }
    out.reserve(count);
    if width > 56 {
        unpack_wide(bytes, count, width, out);
        return Ok(());
    }
    let mask = (1u64 << width) - 1;
    // The last words would reach over the end, so the tail is read from a padded copy.
    let safe = bytes.len().saturating_sub(7).saturating_mul(8).div_ceil(width as usize).min(count);
    let mut bit = 0usize;
    out.extend((0..safe).map(|_| {
        let word = word_at(bytes, bit >> 3);
        let value = (word >> (bit & 7)) & mask;
        bit += width as usize;
        value
    }));
    let from = (bit >> 3).min(bytes.len());
    let mut tail = [0u8; 32];
    for (to, byte) in tail.iter_mut().zip(bytes.iter().skip(from)) {
        *to = *byte;
    }
    let mut bit = bit - from * 8;
    out.extend((safe..count).map(|_| {
        let value = (word_at(&tail, bit >> 3) >> (bit & 7)) & mask;
        bit += width as usize;
        value
    }));
    Ok(())
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |word| u64::from_le_bytes(*word))
}

fn unpack_wide(bytes: &[u8], count: usize, width: u32, out: &mut Vec<u64>) {
    let mask = (1u128 << width) - 1;
    let mut bit = 0usize;
    out.extend((0..count).map(|_| {
        let mut word = [0u8; 16];
        for (to, byte) in word.iter_mut().zip(bytes.iter().skip(bit >> 3)) {
            *to = *byte;
        }
        let value = (u128::from_le_bytes(word) >> (bit & 7)) & mask;
        bit += width as usize;
        #[expect(clippy::cast_possible_truncation, reason = "masked to 64 bits at most")]
        let value = value as u64;
        value
    }));
}

#[cfg(test)]
mod tests;

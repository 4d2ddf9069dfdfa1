//! The XOR bit stream of a value column; see [`values`](super::values) for its layout.

use opendata_core::{Error, Result};

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    free: u32,
}

impl BitWriter {
    fn new() -> Self {
        Self { bytes: Vec::new(), word: 0, free: 64 }
    }

    /// Appends the low `count` bits (1 to 64) of `bits`.
    fn put(&mut self, bits: u64, count: u32) {
        if count <= self.free {
            self.free -= count;
            self.word |= bits << self.free;
        } else {
            let over = count - self.free;
            if self.free > 0 {
                self.word |= bits >> over;
            }
            self.bytes.extend_from_slice(&self.word.to_be_bytes());
            self.free = 64 - over;
            self.word = bits << self.free;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let used = (64 - self.free).div_ceil(8) as usize;
        self.bytes.extend(self.word.to_be_bytes().into_iter().take(used));
        self.bytes
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    word: u64,
    left: u32,
}

impl BitReader<'_> {
    /// The next `count` bits, 1 to 64.
    #[inline]
    fn take(&mut self, count: u32) -> Result<u64> {
        if count > self.left {
            return self.take_over(count);
        }
        let bits = self.word >> (64 - count);
        self.word = self.word.checked_shl(count).unwrap_or(0);
        self.left -= count;
        Ok(bits)
    }

    fn take_over(&mut self, count: u32) -> Result<u64> {
        let missing = count - self.left;
        let high = if self.left == 0 { 0 } else { self.word >> (64 - self.left) };
        let (word, bits) = match self.bytes.split_first_chunk::<8>() {
            Some((word, rest)) => {
                self.bytes = rest;
                (u64::from_be_bytes(*word), 64)
            }
            None => {
                let mut word = [0u8; 8];
                for (to, byte) in word.iter_mut().zip(self.bytes) {
                    *to = *byte;
                }
                let bits = u32::try_from(self.bytes.len()).unwrap_or(0) * 8;
                self.bytes = &[];
                (u64::from_be_bytes(word), bits)
            }
        };
        if missing > bits {
            return Err(Error::corrupt("value stream ends too early"));
        }
        let low = word >> (64 - missing);
        self.word = word.checked_shl(missing).unwrap_or(0);
        self.left = bits - missing;
        Ok(high.checked_shl(missing).unwrap_or(0) | low)
    }
}

pub(super) fn encode(values: &[f64]) -> Vec<u8> {
    let mut out = BitWriter::new();
    let Some((first, rest)) = values.split_first() else { return Vec::new() };
    out.put(first.to_bits(), 64);
    let mut last = first.to_bits();
    let mut window: Option<(u32, u32)> = None;
    for value in rest {
        let bits = value.to_bits();
        let xor = bits ^ last;
        last = bits;
        if xor == 0 {
            out.put(0, 1);
            continue;
        }
        let (leading, trailing) = (xor.leading_zeros(), xor.trailing_zeros());
        match window {
            // A window that is much too wide costs more than a new one.
            Some((lead, trail))
                if leading >= lead && trailing >= trail && 64 - lead - trail <= 64 - leading - trailing + 12 =>
            {
                out.put(0b10, 2);
                out.put(xor >> trail, 64 - lead - trail);
            }
            _ => {
                let length = 64 - leading - trailing;
                out.put(0b11, 2);
                out.put(u64::from(leading), 6);
                out.put(u64::from(length - 1), 6);
                out.put(xor >> trailing, length);
                window = Some((leading, trailing));
            }
        }
    }
    out.finish()
}

pub(super) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<()> {
    let mut bits = BitReader { bytes, word: 0, left: 0 };
    // One bit a value is the least there can be: a corrupt count must not reserve memory.
    if count.saturating_sub(1) > bytes.len().saturating_mul(8) {
        return Err(Error::corrupt("value stream is too short"));
    }
    let mut last = bits.take(64)?;
    out.reserve(count);
    out.push(f64::from_bits(last));
    let mut window: Option<(u32, u32)> = None;
    for _ in 1..count {
        if bits.take(1)? == 1 {
            if bits.take(1)? == 1 {
                let leading = u32::try_from(bits.take(6)?).unwrap_or(63);
                let length = u32::try_from(bits.take(6)?).unwrap_or(63) + 1;
                let trailing = 64u32
                    .checked_sub(leading + length)
                    .ok_or_else(|| Error::corrupt("value stream has a window of more than 64 bits"))?;
                window = Some((length, trailing));
            }
            let (length, trailing) =
                window.ok_or_else(|| Error::corrupt("value stream uses a window before it gives one"))?;
            last ^= bits.take(length)? << trailing;
        }
        out.push(f64::from_bits(last));
    }
    Ok(())
}

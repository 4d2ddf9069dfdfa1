//! Chunks in Prometheus's XOR encoding, which its remote read sends
//! (<https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>, after the Gorilla paper of 2015).
//!
//! ```text
//! count u16 | t0 varint | v0 64 bits | t1-t0 uvarint | v1 xored | then for each: delta of delta, value xored
//! delta of delta:  0 -> 0 | 10 and 14 bits | 110 and 17 | 1110 and 20 | 1111 and 64
//! value:           equal -> 0 | within the last window of bits: 10 and these | 11, leading 5 bits, length 6 bits, these
//! ```

use crate::proto::{put_varint, zigzag};

/// Encodes at most 65,535 samples, their times ascending.
pub(super) fn encode(times: &[i64], values: &[f64]) -> Vec<u8> {
    let count = times.len().min(values.len());
    let mut bits = Bits { bytes: Vec::with_capacity(16 + 4 * count), free: 0 };
    bits.bytes.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
    let mut values_out = Values::default();
    let (mut last_time, mut delta) = (0_i64, 0_i64);
    for (place, (time, value)) in times.iter().zip(values).enumerate() {
        match place {
            0 => {
                put_varint(&mut bits.bytes, zigzag(*time));
                bits.put(value.to_bits(), 64);
                values_out.last = value.to_bits();
            }
            1 => {
                delta = time.wrapping_sub(last_time);
                let mut varint = Vec::with_capacity(10);
                put_varint(&mut varint, delta.cast_unsigned());
                varint.iter().for_each(|byte| bits.put(u64::from(*byte), 8));
                values_out.put(&mut bits, value.to_bits());
            }
            _ => {
                let next = time.wrapping_sub(last_time);
                put_delta_of_delta(&mut bits, next.wrapping_sub(delta));
                delta = next;
                values_out.put(&mut bits, value.to_bits());
            }
        }
        last_time = *time;
    }
    bits.bytes
}

fn put_delta_of_delta(bits: &mut Bits, value: i64) {
    // A range of n bits ends at 2^(n-1) and not below it: the decoder takes larger patterns for negative numbers.
    let fits = |n: u32| (-((1_i64 << (n - 1)) - 1)..=1 << (n - 1)).contains(&value);
    let (mark, mark_bits, length) = match value {
        0 => (0, 1, 0),
        _ if fits(14) => (0b10, 2, 14),
        _ if fits(17) => (0b110, 3, 17),
        _ if fits(20) => (0b1110, 4, 20),
        _ => (0b1111, 4, 64),
    };
    bits.put(mark, mark_bits);
    bits.put(value.cast_unsigned(), length);
}

/// Values, each as its difference to the one before.
#[derive(Default)]
struct Values {
    last: u64,
    /// Zero bits in front of and behind the window that was told last.
    window: Option<(u32, u32)>,
}

impl Values {
    fn put(&mut self, bits: &mut Bits, value: u64) {
        let xor = value ^ self.last;
        self.last = value;
        if xor == 0 {
            bits.put(0, 1);
            return;
        }
        // Five bits tell no more than 31.
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        match self.window {
            Some((first, last)) if leading >= first && trailing >= last => {
                bits.put(0b10, 2);
                bits.put(xor >> last, 64 - first - last);
            }
            _ => {
                let length = 64 - leading - trailing;
                bits.put(0b11, 2);
                bits.put(u64::from(leading), 5);
                // Six bits tell 64 as 0, which a difference never has.
                bits.put(u64::from(length), 6);
                bits.put(xor >> trailing, length);
                self.window = Some((leading, trailing));
            }
        }
    }
}

/// Bits, from the highest of each byte on.
struct Bits {
    bytes: Vec<u8>,
    /// Free bits in the last byte.
    free: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of a number.
    fn put(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let part = (value >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::try_from(part << (self.free - taken)).unwrap_or(0);
            }
            self.free -= taken;
            left -= taken;
        }
    }
}

#[cfg(test)]
mod tests;

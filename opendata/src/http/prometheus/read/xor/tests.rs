use proptest::prelude::*;

use super::*;

/// Reads bits, written from the format's description and not from the encoder.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: usize) -> u64 {
        let mut value = 0;
        for _ in 0..count {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            value = value << 1 | u64::from(bit);
            self.at += 1;
        }
        value
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.bits(8);
            value |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    fn delta_of_delta(&mut self) -> i64 {
        let ones = (0..4).take_while(|_| self.bits(1) == 1).count();
        let length = [0, 14, 17, 20, 64][ones];
        let value = self.bits(length).cast_signed();
        if length < 64 && length > 0 && value > 1 << (length - 1) { value - (1 << length) } else { value }
    }
}

fn decode(bytes: &[u8]) -> Vec<(i64, u64)> {
    let mut reader = Reader { bytes, at: 0 };
    let count = reader.bits(16);
    let (mut time, mut delta, mut value, mut window) = (0_i64, 0_i64, 0_u64, (0, 0));
    let mut samples = Vec::new();
    for place in 0..count {
        if place == 0 {
            let zigzag = reader.varint();
            time = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
            value = reader.bits(64);
        } else {
            delta =
                if place == 1 { reader.varint().cast_signed() } else { delta.wrapping_add(reader.delta_of_delta()) };
            time = time.wrapping_add(delta);
            if reader.bits(1) == 1 {
                if reader.bits(1) == 1 {
                    let leading = reader.bits(5);
                    let length = match reader.bits(6) {
                        0 => 64,
                        length => length,
                    };
                    window = (length, 64 - leading - length);
                }
                value ^= reader.bits(usize::try_from(window.0).unwrap()) << window.1;
            }
        }
        samples.push((time, value));
    }
    samples
}

fn check(times: &[i64], values: &[f64]) {
    let expected: Vec<_> = times.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect();
    assert_eq!(decode(&encode(times, values)), expected);
}

proptest! {
    #[test]
    fn any_samples_come_back_bit_for_bit(samples in prop::collection::vec((0_i64..10_000_000, any::<u64>()), 1..200), start in -(1_i64 << 50)..1 << 50) {
        let mut time = start;
        let times: Vec<i64> = samples.iter().map(|(step, _)| { time += step + 1; time }).collect();
        let values: Vec<f64> = samples.iter().map(|(_, bits)| f64::from_bits(*bits)).collect();
        check(&times, &values);
    }

    #[test]
    fn slowly_changing_values_come_back(steps in prop::collection::vec((-3_i64..3, -5_i32..5), 1..120)) {
        let (mut time, mut value) = (1_700_000_000_000, 100.0);
        let (times, values): (Vec<i64>, Vec<f64>) = steps.iter().map(|(jitter, step)| {
            time += 15_000 + jitter;
            value += f64::from(*step);
            (time, value)
        }).unzip();
        check(&times, &values);
    }
}

#[test]
fn the_edges_of_the_ranges_come_back() {
    for step in [8191, 8192, 8193, 65_535, 65_536, 65_537, 524_287, 524_288, 524_289, 1 << 40] {
        let base = 1 << 41;
        check(&[0, base, 2 * base + step, 3 * base + step, 4 * base], &[1.0, 1.0, 2.0, f64::NAN, f64::INFINITY]);
    }
}

#[test]
fn bytes_are_those_of_the_format() {
    assert_eq!(encode(&[1, 2], &[1.0, 1.0]), [0, 2, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 1, 0]);
}

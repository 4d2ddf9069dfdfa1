use proptest::prelude::*;

use super::*;
use crate::cell::Frame;
use crate::cell::quantize::Code;
use crate::cell::strip::Strip;

/// All sets of loops that this machine can run.
fn fast() -> Vec<&'static Kernels> {
    let all = [&PLAIN, kernels()].into_iter();
    #[cfg(target_arch = "x86_64")]
    let all = all.chain(x86::detect_avx2());
    all.collect()
}

fn floats(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-10f32..10.0, count)
}

/// Numbers that follow from a seed, where so many are wanted that choosing and shrinking each would take most of a test.
fn seeded(seed: u64, count: usize) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-10f32..10.0)).collect()
}

fn close(fast: f32, plain: f32, magnitude: f32) -> bool {
    (fast - plain).abs() <= 1e-5 * magnitude.max(1.0)
}

fn magnitude(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a.abs() + b.abs()).powi(2)).sum()
}

proptest! {
    #[test]
    fn fast_and_plain_agree(a in floats(0..300), b in floats(0..300)) {
        let size = magnitude(&a, &b);
        for kernels in fast() {
            prop_assert!(close((kernels.dot)(&a, &b), plain::dot(&a, &b), size), "{}", kernels.name);
            prop_assert!(close((kernels.l2)(&a, &b), plain::l2(&a, &b), size), "{}", kernels.name);
        }
    }

    #[test]
    fn rows_by_columns_are_scored_like_rows(dims in 1usize..80, count in 0usize..150, seed in any::<u64>(), four in floats(320)) {
        let rows = &seeded(seed, dims * count)[..];
        let columns = columns::Columns::new(rows, dims);
        let vectors: [&[f32]; 4] = std::array::from_fn(|at| &four[at * 80..at * 80 + dims]);
        for (block, rows) in rows.chunks(dims * columns::COLUMN_ROWS).enumerate() {
            let own = columns.block(block);
            for kernels in fast() {
                let dots = (kernels.columns4)(own, vectors);
                for (vector, dots) in vectors.iter().zip(&dots) {
                    let alone = (kernels.columns)(own, vector);
                    for (row, (dot, alone)) in rows.chunks(dims).zip(dots.iter().zip(&alone)) {
                        let size = magnitude(row, vector);
                        prop_assert!(close(*dot, plain::dot(row, vector), size), "{}", kernels.name);
                        prop_assert!(close(*alone, plain::dot(row, vector), size), "{}", kernels.name);
                    }
                }
                let some = (kernels.columns4)(own, [vectors[0], &[], &[], &[]]);
                prop_assert_eq!(some[1], [0.0; columns::COLUMN_ROWS]);
                prop_assert!(close(some[0][0], dots[0][0], magnitude(&rows[..dims], vectors[0])));
            }
        }
    }

    /// To the bit, as one after another.
    #[test]
    fn codes_side_by_side_are_scored_alike(
        dims in 1usize..128,
        bytes in proptest::collection::vec(any::<u8>(), 0..4000),
        query in floats(128),
        seed in any::<u64>(),
        floor in -1e5f32..1e5,
    ) {
        let factors = seeded(seed, 3 * 4000);
        let mut frame = Frame::default();
        for (id, code) in bytes.chunks_exact(dims).enumerate() {
            frame.push(id as u64, &Code { bits: 8, bytes: code.to_vec(), ..Code::default() });
        }
        let strip = Strip::new(&frame);
        let whole = Plane::new(&query[..dims], Plane::scale(&query));
        let mut expected = Vec::new();
        plain::codes8(&frame.codes, dims, &whole, &mut expected);
        let rows = expected.len();
        let of = |part: usize| &factors[part * 4000..part * 4000 + rows];
        let factors = Factors { base: of(0), slope: of(1), spread: of(2) };
        let line = Line { scale: 1e-3, middle: 0.5, constant: -1.0, doubt: 0.25, floor };
        let mut reached = Vec::new();
        codes::plain_reaching(&expected, factors, line, &mut reached);
        for kernels in fast() {
            let (mut products, mut own) = (Vec::new(), Vec::new());
            (kernels.strip)(&strip.codes, strip.quads, &whole, &mut products);
            prop_assert!(products.len() >= rows && products.len() < rows + 16);
            products.truncate(rows);
            prop_assert_eq!(&products, &expected, "{}", kernels.name);
            (kernels.reaching)(&products, factors, line, &mut own);
            prop_assert_eq!(&own, &reached, "{}", kernels.name);
        }
    }

    /// To the bit: integers have one sum.
    #[test]
    fn codes_are_scored_alike(
        size in 1usize..1200,
        count in 0usize..10,
        seed in any::<u64>(),
        query in floats(1200),
    ) {
        let mut state = seed;
        let mut codes: Vec<u8> = Vec::new();
        codes.resize_with(size * count, || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        let scale = Plane::scale(&query);
        let whole = Plane::new(&query[..size], scale);
        let halves = [Plane::new(&query[..size], scale), Plane::new(&query[1..=size.min(1199)], scale)];
        let (mut eight, mut four) = (Vec::new(), Vec::new());
        plain::codes8(&codes, size, &whole, &mut eight);
        let blocks = size.next_multiple_of(16);
        let count = codes.len() / blocks;
        let codes4 = &codes[..count * blocks];
        let pad = |plane: &Plane| {
            let mut wide = plane.wide.clone();
            wide.resize(blocks.next_multiple_of(64), 0);
            let components: Vec<f32> = wide.iter().map(|w| f32::from(*w)).collect();
            Plane::new(&components, 1.0)
        };
        let halves = [pad(&halves[0]), pad(&halves[1])];
        plain::codes4(codes4, blocks, &halves, &mut four);
        for kernels in fast() {
            let (mut fast8, mut fast4) = (Vec::new(), Vec::new());
            (kernels.codes8)(&codes, size, &whole, &mut fast8);
            (kernels.codes4)(codes4, blocks, &halves, &mut fast4);
            prop_assert_eq!(&fast8, &eight, "{}", kernels.name);
            prop_assert_eq!(&fast4, &four, "{}", kernels.name);
        }
    }
}

proptest! {
    /// To the bit, and what multiplying and adding up one by one gives.
    #[test]
    fn codes_of_few_bits_are_looked_up_alike(
        bits in prop::sample::select(vec![1usize, 2, 4]),
        dims in 1usize..300,
        rows in 0usize..100,
        seed in any::<u64>(),
        query in floats(300),
    ) {
        let levels = 1 << bits;
        let random = seeded(seed, dims * rows);
        let code = |row: usize, dim: usize| ((random[row * dims + dim] + 10.0) * 1e3) as u8 % levels;
        let codes: Vec<u8> = (0..rows * dims).map(|at| code(at / dims, at % dims)).collect();
        let packed = lookup::pack(&codes, dims, bits);
        let query = &query[..dims];
        let prepared = Tables::new(query, bits);
        let mut plain = Vec::new();
        lookup::plain(&packed, &prepared, &mut plain);
        prop_assert_eq!(plain.len(), rows.next_multiple_of(lookup::ABREAST));
        for (row, found) in plain.iter().take(rows).enumerate() {
            let odd = |dim: usize| f32::from(2 * code(row, dim)) + 1.0 - f32::from(levels);
            let expected: f32 = query.iter().enumerate().map(|(dim, q)| odd(dim) * q).sum();
            let error = (found * prepared.scale - expected).abs();
            prop_assert!(error <= prepared.scale * 0.51 * f32::from(levels) * dims as f32, "{error}");
        }
        for kernels in fast() {
            let mut own = Vec::new();
            (kernels.lookup)(&packed, &prepared, &mut own);
            prop_assert_eq!(&own, &plain, "{}", kernels.name);
        }
    }
}

#[test]
fn what_is_looked_up_does_not_overflow() {
    for (bits, largest) in [(1, 31.0), (2, 3.0 * 20.0), (4, 15.0 * 8.0)] {
        for dims in [1, 511, 512, 513, 1024, 1025, 4096] {
            let query = Tables::new(&vec![1.0; dims], bits);
            for (sign, code) in [(-1.0, 0), (1.0, (1 << bits) - 1)] {
                let packed = lookup::pack(&vec![code; 33 * dims], dims, bits);
                for kernels in fast() {
                    let mut sums = Vec::new();
                    (kernels.lookup)(&packed, &query, &mut sums);
                    assert_eq!(sums[..33], [sign * largest * dims as f32; 33], "{} {bits} {dims}", kernels.name);
                }
            }
        }
    }
}

#[test]
fn the_largest_products_do_not_overflow() {
    for dims in [64, 512, 4096] {
        let query = Plane::new(&vec![1.0; dims], Plane::scale(&[1.0]));
        for kernels in fast() {
            let mut scores = Vec::new();
            (kernels.codes8)(&vec![255; dims * 5], dims, &query, &mut scores);
            assert_eq!(scores, vec![255.0 * LARGEST * dims as f32; 5], "{} {dims}", kernels.name);
        }
    }
}

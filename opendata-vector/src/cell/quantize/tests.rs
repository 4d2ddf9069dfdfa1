use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::cell::rotate::Rotation;

fn vector(random: &mut StdRng, dims: usize) -> Vec<f32> {
    (0..dims).map(|_| random.random_range(-1f32..1.0)).collect()
}

fn estimate(query: &CodeQuery, code: &Code) -> f32 {
    let mut frame = Frame::default();
    frame.push(1, code);
    let mut scratch = Scratch::default();
    let around = Around { constant: 0.0, distance: 1.0, centroid: &[] };
    query.reaching(&frame, around, f32::NEG_INFINITY, &mut scratch);
    let one = query.estimate_one(&frame, 0, &mut Vec::new());
    assert!((scratch.reaching[0].estimate - one).abs() <= 1e-4 * one.abs().max(1.0), "{:?} {one}", scratch.reaching);
    one
}

#[test]
fn a_rotation_keeps_lengths_and_angles() {
    let mut random = StdRng::seed_from_u64(1);
    for dims in [1, 2, 3, 50, 96, 128, 200] {
        let (a, b) = (vector(&mut random, dims), vector(&mut random, dims));
        let rotation = Rotation::new(dims as u32);
        let (mut ra, mut rb) = (a.clone(), b.clone());
        rotation.apply(&mut ra);
        rotation.apply(&mut rb);
        assert!((kernel::dot(&a, &b) - kernel::dot(&ra, &rb)).abs() < 1e-3, "dims={dims}");
        assert!(dims < 3 || a != ra);
    }
}

/// Estimates are right on average, and their spread is what they say it is.
#[test]
fn estimates_are_unbiased_and_within_their_bounds() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for (bits, dims) in [(CodeBits::Four, 50), (CodeBits::Four, 128), (CodeBits::Eight, 50), (CodeBits::Eight, 128)]
        {
            let mut random = StdRng::seed_from_u64(dims as u64);
            let (centroid, query) = (vector(&mut random, dims), vector(&mut random, dims));
            let prepared = CodeQuery::new(metric, query.clone());
            let (constant, distance) = prepared.cell(kernel::dot(&query, &centroid), kernel::dot(&centroid, &centroid));
            let (mut within, mut bias, mut total) = (0, 0.0, 0.0);
            for _ in 0..500 {
                let near: Vec<f32> =
                    centroid.iter().zip(vector(&mut random, dims)).map(|(c, noise)| c + noise * 0.5).collect();
                let code = encode(bits, metric, &near, &centroid);
                assert_eq!(code.bytes.len(), code_size(bits, dims));
                let estimate = constant + estimate(&prepared, &code);
                let error = estimate - kernel::score(metric, &query, &near);
                within += usize::from(error.abs() <= DEVIATIONS * code.spread * distance + 1e-4);
                bias += error;
                total += error.abs();
            }
            assert!(within >= 460, "{metric:?} {bits:?} {dims}: {within} of 500 within their bounds");
            assert!(bias.abs() < total * 0.25 + 0.01, "{metric:?} {bits:?} {dims}: bias {bias} of {total}");
        }
    }
}

/// What a sketch rules out is not looked at again: nearly all true scores must be within its bounds, wherever the query is.
#[test]
fn bounds_by_sketches_hold() {
    let mut random = StdRng::seed_from_u64(5);
    let metrics = [Metric::L2, Metric::Cosine, Metric::InnerProduct].into_iter().cycle();
    for (metric, dims) in metrics.zip([33, 50, 100, 128, 250, 1100]) {
        let centroid = vector(&mut random, dims);
        let scattered = |random: &mut StdRng, by: f32| -> Vec<f32> {
            centroid.iter().zip(vector(random, dims)).map(|(c, noise)| c + noise * by).collect()
        };
        let near: Vec<Vec<f32>> = (0..500).map(|_| scattered(&mut random, 0.5)).collect();
        let mut frame = Frame::default();
        for (id, near) in near.iter().enumerate() {
            frame.push(id as u64, &encode(CodeBits::Eight, metric, near, &centroid));
        }
        for by in [0.0, 0.1, 0.5, 3.0] {
            let query = CodeQuery::new(metric, scattered(&mut random, by));
            let dot = kernel::dot(&query.rotated, &centroid);
            let (constant, distance) = query.cell(dot, kernel::dot(&centroid, &centroid));
            let around = Around { constant, distance, centroid: &centroid };
            let mut scratch = Scratch::default();
            assert!(query.reaching_by_sketch(&frame, around, f32::NEG_INFINITY, &mut scratch));
            assert_eq!(scratch.reaching.len(), near.len());
            let is_within = |reaching: &&Reaching| {
                let score = kernel::score(metric, &query.rotated, &near[reaching.row as usize]);
                (score - reaching.estimate).abs() <= reaching.upper - reaching.estimate + 1e-3
            };
            let within = scratch.reaching.iter().filter(is_within).count();
            assert!(within >= 480, "{metric:?} {dims} {by}: {within} of 500 within their bounds");
        }
    }
}

#[test]
fn a_vector_on_its_centroid_is_exact() {
    let centroid = [0.5, -0.25, 1.0];
    for metric in [Metric::L2, Metric::InnerProduct] {
        let code = encode(CodeBits::Eight, metric, &centroid, &centroid);
        let query = CodeQuery::new(metric, vec![1.0, 2.0, 3.0]);
        let (constant, _) = query.cell(kernel::dot(&query.rotated, &centroid), kernel::dot(&centroid, &centroid));
        let estimate = constant + estimate(&query, &code);
        assert!((estimate - kernel::score(metric, &[1.0, 2.0, 3.0], &centroid)).abs() < 1e-5);
    }
}

use proptest::prelude::*;

use super::*;

fn floats(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-10f32..10.0, count)
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
        prop_assert!(close(dot(&a, &b), plain::dot(&a, &b), size));
        prop_assert!(close(l2(&a, &b), plain::l2(&a, &b), size));
    }

    #[test]
    fn codes_agree(code in proptest::collection::vec(any::<u8>(), 0..300), query in floats(0..600)) {
        let size = query.iter().map(|q| q.abs() * 255.0).sum();
        prop_assert!(close(dot_u8(&code, &query), plain::dot_u8(&code, &query), size));
        prop_assert!(close(dot_u4(&code, &query), plain::dot_u4(&code, &query), size));
    }
}

#[test]
fn half_bytes_are_in_blocks() {
    let mut code = vec![0u8; 16];
    code[3] = 0x52;
    let query: Vec<f32> = (0..32).map(|i| i as f32).collect();
    assert_eq!(dot_u4(&code, &query), 2.0 * 3.0 + 5.0 * 19.0);
}

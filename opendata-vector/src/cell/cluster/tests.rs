use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn parts_hold_every_row_once_and_none_is_tiny(
        vectors in proptest::collection::vec(-2i8..2, 0..900),
        limit in 8usize..40,
    ) {
        // Small integers: many rows are the same.
        let vectors: Vec<f32> = vectors.iter().map(|v| f32::from(*v)).collect();
        let rows = vectors.len() / 3;
        let parts = partition(&vectors[..rows * 3], 3, limit);
        let mut all: Vec<usize> = parts.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..rows).collect::<Vec<_>>());
        for part in &parts {
            prop_assert!(part.len() <= limit);
            prop_assert!(rows <= limit || part.len() >= limit / 4, "{} of {rows}, limit {limit}", part.len());
        }
    }
}

#[test]
fn clusters_are_found() {
    let mut vectors = Vec::new();
    for row in 0..40 {
        let near = if row % 2 == 0 { 10.0 } else { -10.0 };
        vectors.extend([near, row as f32 * 0.01]);
    }
    for part in partition(&vectors, 2, 20) {
        assert!(part.iter().all(|row| row % 2 == part[0] % 2));
    }
}

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

proptest! {
    #[test]
    fn the_nearest_is_what_a_plain_search_finds(
        centroids in proptest::collection::vec(-9i8..9, 2..600),
        vectors in proptest::collection::vec(-9i8..9, 2..40),
    ) {
        let floats = |of: &[i8]| of[..of.len() / 2 * 2].iter().map(|v| f32::from(*v)).collect::<Vec<f32>>();
        let (centroids, vectors) = (floats(&centroids), floats(&vectors));
        let count = centroids.len() / 2;
        let squares: Vec<f32> = centroids.chunks(2).map(|c| kernel::dot(c, c)).collect();
        let found = nearest_of(&Columns::new(&centroids, 2), &squares, &vectors);
        prop_assert_eq!(found.len(), vectors.len() / 2);
        for (vector, found) in vectors.chunks(2).zip(found) {
            let distance = |at: usize| kernel::l2(vector, row(&centroids, 2, at));
            let least = (0..count).map(distance).fold(f32::INFINITY, f32::min);
            prop_assert!(distance(found) == least, "{found}");
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

#[test]
fn of_many_centroids_the_nearest_is_found_but_for_a_few() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    const DIMS: usize = 8;
    let mut random = StdRng::seed_from_u64(7);
    let mut some = |count: usize| (0..count * DIMS).map(|_| random.random_range(-1f32..1.0)).collect::<Vec<f32>>();
    let (unordered, vectors) = (some(2000), some(400));
    // Neighbours have neighbouring places.
    let centroids = middles(&unordered, DIMS, &partition(&unordered, DIMS, 1));
    let squares: Vec<f32> = centroids.chunks(DIMS).map(|c| kernel::dot(c, c)).collect();
    let columns = Columns::new(&centroids, DIMS);
    let found = nearest_of(&columns, &squares, &vectors);
    let (mut exact, mut distances) = (0, (0.0, 0.0));
    for (vector, found) in vectors.chunks(DIMS).zip(&found) {
        let all = centroids.chunks(DIMS).map(|centroid| kernel::l2(vector, centroid));
        let least = all.fold(f32::INFINITY, f32::min);
        let own = kernel::l2(vector, row(&centroids, DIMS, *found));
        exact += usize::from(own == least);
        distances = (distances.0 + own, distances.1 + least);
    }
    assert_eq!(found.len(), 400);
    assert!(exact > 360, "{exact} of 400");
    assert!(distances.0 < distances.1 * 1.02, "{distances:?}");
}

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::cell::cluster;
use crate::kernel;

proptest! {
    #[test]
    fn numbers_in_descending_order_are_as_total_cmp_has_them(a in any::<u32>(), b in any::<u32>()) {
        let (a, b) = (f32::from_bits(a), f32::from_bits(b));
        prop_assert_eq!(descending(a).cmp(&descending(b)), b.total_cmp(&a));
    }
}

/// Middles as an index has them: neighbours have neighbouring places.
fn middles(seed: u64, count: usize, dims: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(seed);
    let centres: Vec<f32> = (0..40 * dims).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut vectors = Vec::with_capacity(count * 8 * dims);
    for _ in 0..count * 8 {
        let centre = random.random_range(0..40);
        vectors.extend(cluster::row(&centres, dims, centre).iter().map(|x| x + random.random_range(-0.5..0.5)));
    }
    let parts = cluster::partition(&vectors, dims, cluster::part_limit(count * 8, count));
    cluster::middles(&vectors, dims, &parts)
}

#[test]
fn with_two_levels_every_cell_comes_once_and_the_nearest_come_first() {
    const DIMS: usize = 16;
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        let mut middles = middles(7, 3_000, DIMS);
        if metric == Metric::Cosine {
            middles.chunks_exact_mut(DIMS).for_each(|middle| kernel::normalise(metric, middle));
        }
        let count = middles.len() / DIMS;
        let numbers: Vec<u32> = (0..count as u32).map(|cell| 3 * cell + 1).collect();
        let flat = Routes::leveled(DIMS as u32, numbers.clone(), middles.clone(), usize::MAX);
        let two = Routes::leveled(DIMS as u32, numbers.clone(), middles.clone(), 1);
        let (mut found, mut asked) = (0, 0);
        for at in (0..count).step_by(61) {
            let mut vector = cluster::row(&middles, DIMS, at).to_vec();
            vector.iter_mut().zip(cluster::row(&middles, DIMS, (at + 5) % count)).for_each(|(x, y)| *x += y * 0.3);
            let query = CodeQuery::new(metric, vector);
            let nearest = |routes: &Routes, taken: usize| {
                let mut order = CellOrder::new(&query, routes, 16);
                let cells: Vec<u32> =
                    std::iter::from_fn(|| order.next(&query)).take(taken).map(|next| next.cell).collect();
                (cells, order.compared)
            };
            let ((exact, all), (near, compared)) = (nearest(&flat, 32), nearest(&two, 32));
            assert_eq!(compared, all.div_ceil(8), "of {all} blocks");
            found += exact.iter().filter(|cell| near.contains(cell)).count();
            asked += exact.len();
            let (mut every, compared) = nearest(&two, usize::MAX);
            every.sort_unstable();
            assert_eq!((every, compared), (numbers.clone(), all));
        }
        println!("{metric:?}: {found} of {asked}");
        assert!(found * 100 >= asked * 95, "{metric:?}: {found} of {asked}");
    }
}

#[test]
fn what_two_levels_give_of_a_middle_is_what_one_gives() {
    let middles = middles(3, 700, 8);
    let numbers: Vec<u32> = (0..middles.len() as u32 / 8).collect();
    let query = CodeQuery::new(Metric::L2, middles[80..88].to_vec());
    let all = |two_levels: usize| {
        let routes = Routes::leveled(8, numbers.clone(), middles.clone(), two_levels);
        let mut order = CellOrder::new(&query, &routes, 16);
        let mut all: Vec<_> = std::iter::from_fn(|| order.next(&query)).collect();
        all.sort_unstable_by_key(|next| next.cell);
        all.into_iter()
            .map(|next| (next.cell, next.place, next.dot.to_bits(), next.squared.to_bits()))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(1), all(usize::MAX));
}

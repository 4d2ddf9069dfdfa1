use opendata_core::Hex;
use proptest::prelude::*;

use super::*;
use crate::postings::top::{List, Mask, search};
use crate::search::{Scored, Top};

#[test]
fn golden_bytes() {
    let postings = [Weight { low: 3, weight: 1.0 }, Weight { low: 300, weight: -2.0 }];
    let bytes = postings::encode(&postings);
    let expected = "02 02 03 a902 0b 0000803f 000000c0 00 0000803f a902 000000c0".replace(' ', "");
    assert_eq!(Hex(&bytes).to_string(), expected);
    assert_eq!(postings::decode::<Weight>(b"k", &bytes).unwrap(), postings);
}

#[test]
fn entries_are_in_order_and_have_no_zeros() {
    let vector = SparseVector { indices: vec![7, 3, 5], values: vec![1.0, 2.0, 0.0] };
    assert_eq!(vector.entries().unwrap(), [(3, 2.0), (7, 1.0)]);
    for (indices, values, expected) in [
        (vec![1], vec![], "not as many indices as values"),
        (vec![1, 1], vec![1.0, 2.0], "dimension twice, index=1"),
        (vec![1], vec![f32::NAN], "not a finite number, index=1"),
    ] {
        let error = SparseVector { indices, values }.entries().unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_best_by_inner_product_are_those_of_a_plain_evaluation_also_with_negative_weights(
        lists in prop::collection::vec((prop::collection::btree_map(0u16..3000, -4f32..4.0, 1..900), -2f64..2.0), 1..6),
        depth in 1usize..30,
    ) {
        let rows: Vec<_> = lists.iter().map(|(all, _)| {
            postings::encode(&all.iter().map(|(low, weight)| Weight { low: *low, weight: *weight }).collect::<Vec<_>>())
        }).collect();
        let walked = rows.iter().zip(&lists).enumerate();
        let walked = walked.map(|(order, (row, (_, weight)))| List::new(b"k", row, Product(*weight), order).unwrap());
        let mut top = Top::new(depth);
        search(0, walked.collect(), &Mask { allowed: None, dead: None }, &mut top).unwrap();
        let mut expected = Vec::new();
        for low in 0..3000u16 {
            let parts: Vec<f64> = lists.iter().filter_map(|(all, weight)| Some(weight * f64::from(*all.get(&low)?))).collect();
            if !parts.is_empty() {
                expected.push(Scored { score: parts.iter().sum(), id: low.into() });
            }
        }
        expected.sort_unstable_by(|a, b| b.cmp(a));
        expected.truncate(depth);
        prop_assert_eq!(top.into_sorted(), expected);
    }
}

use proptest::prelude::*;

use super::*;

#[test]
fn a_grid_counts_both_ends() {
    assert_eq!(Grid::new(0, 60, 10).count, 7);
    assert_eq!(Grid::new(0, 59, 10).count, 6);
    assert_eq!(Grid::new(0, -1, 10).count, 0);
    assert_eq!(Grid::new(5, 5, 0).count, 1);
    assert_eq!(Grid::new(-20, 10, 15).time(2), 10);
}

proptest! {
    #[test]
    fn bits_behave_like_a_set(a in prop::collection::btree_set(0_usize..200, 0..40), b in prop::collection::btree_set(0_usize..200, 0..40)) {
        let bits = |set: &std::collections::BTreeSet<usize>| {
            let mut bits = Bits::none(200);
            set.iter().for_each(|step| bits.set(*step));
            bits
        };
        let (x, y) = (bits(&a), bits(&b));
        prop_assert_eq!(x.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(x.overlaps(&y), !a.is_disjoint(&b));
        for (f, set) in [
            (Bits::or as fn(&mut Bits, &Bits), a.union(&b).copied().collect::<Vec<_>>()),
            (Bits::and, a.intersection(&b).copied().collect()),
            (Bits::and_not, a.difference(&b).copied().collect()),
        ] {
            let mut both = x.clone();
            f(&mut both, &y);
            prop_assert_eq!(both.iter().collect::<Vec<_>>(), set);
        }
    }

    #[test]
    fn all_bits_are_as_many_as_steps(count in 0_usize..300) {
        prop_assert_eq!(Bits::all(count).iter().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn an_update_changes_and_takes_away(values in prop::collection::vec(prop::option::of(-100_i32..100), 0..150)) {
        let mut column = Column::empty(values.len());
        for (step, value) in values.iter().enumerate() {
            if let Some(value) = value {
                column.set(step, f64::from(*value));
            }
        }
        column.update(|_, value| (value > 0.0).then_some(value * 2.0));
        for (step, value) in values.iter().enumerate() {
            let expected = value.filter(|value| *value > 0).map(|value| f64::from(value * 2));
            prop_assert_eq!(column.get(step), expected);
        }
    }
}

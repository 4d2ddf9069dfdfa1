use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ids() -> impl Strategy<Value = BTreeSet<u64>> {
    let near = prop_oneof![0u64..20, 65_530u64..65_545, 200_000u64..200_010, (1u64 << 40)..(1u64 << 40) + 9];
    proptest::collection::btree_set(near, 0..40)
}

fn set(ids: &BTreeSet<u64>) -> IdSet {
    let mut set = IdSet::default();
    set.extend(ids.iter().copied());
    set
}

fn list(set: &IdSet) -> Vec<u64> {
    set.iter().collect()
}

proptest! {
    #[test]
    fn is_a_set(a in ids(), b in ids()) {
        prop_assert_eq!(list(&set(&a).union(set(&b))), a.union(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(list(&set(&a).intersect(&set(&b))), a.intersection(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(list(&set(&a).without(&set(&b))), a.difference(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(set(&a).len(), a.len() as u64);
        prop_assert_eq!(set(&a).len_below(1), a.range(..CHUNK).count() as u64);
        for id in &b {
            prop_assert_eq!(set(&a).contains(*id), a.contains(id));
        }
    }

    #[test]
    fn ranges(start in 65_000u64..66_000, length in 0u64..140_000) {
        let set = IdSet::range(start..start + length);
        prop_assert_eq!(set.len(), length);
        prop_assert!(!set.contains(start + length));
        prop_assert!(length == 0 || (set.contains(start) && set.contains(start + length - 1)));
    }
}

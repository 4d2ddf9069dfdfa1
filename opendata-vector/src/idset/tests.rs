use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Few ids, or so many of a chunk that they are no list any more.
fn ids() -> impl Strategy<Value = BTreeSet<u64>> {
    let near = prop_oneof![0u64..20, 65_530u64..65_545, 200_000u64..200_010, (1u64 << 40)..(1u64 << 40) + 9];
    let few = proptest::collection::btree_set(near, 0..40);
    let runs = proptest::collection::vec((0u64..140_000, 0u64..70_000, 1usize..4), 0..3);
    (few, runs).prop_map(|(mut ids, runs)| {
        for (start, length, step) in runs {
            ids.extend((start..start + length).step_by(step));
        }
        ids
    })
}

fn set(ids: &BTreeSet<u64>) -> IdSet {
    let mut chunks: BTreeMap<u64, RoaringBitmap> = BTreeMap::new();
    for id in ids {
        chunks.entry(id / CHUNK).or_default().insert((id % CHUNK) as u32);
    }
    let mut set = IdSet::default();
    chunks.iter().for_each(|(chunk, bitmap)| set.add_bitmap(*chunk, bitmap));
    set
}

fn list(set: &IdSet) -> Vec<u64> {
    set.iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn is_a_set(a in ids(), b in ids()) {
        prop_assert_eq!(list(&set(&a)), a.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(list(&set(&a).union(set(&b))), a.union(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(list(&set(&a).intersect(&set(&b))), a.intersection(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(list(&set(&a).without(&set(&b))), a.difference(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(set(&a).len(), a.len() as u64);
        prop_assert_eq!(set(&a).len_below(1), a.range(..CHUNK).count() as u64);
        let own = set(&a);
        for low in [0u16, 1, 63, 64, 5000, 65_535] {
            let next = own.chunk(0).and_then(|ids| ids.next(low));
            prop_assert_eq!(next.map(u64::from), a.range(u64::from(low)..CHUNK).next().copied());
        }
        let probe = own.probe();
        for id in b.iter().flat_map(|id| [*id, id + 1]) {
            prop_assert_eq!(own.contains(id), a.contains(&id));
            prop_assert_eq!(probe.contains(id), a.contains(&id));
        }
    }

    #[test]
    fn grows_one_by_one(a in ids(), more in proptest::collection::vec(0u64..70_000, 0..50)) {
        let (mut own, mut model) = (set(&a), a);
        for id in more {
            prop_assert_eq!(own.insert(id), model.insert(id));
        }
        prop_assert_eq!(list(&own), model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn ranges(start in 65_000u64..66_000, length in 0u64..140_000) {
        let set = IdSet::range(start..start + length);
        prop_assert_eq!(set.len(), length);
        prop_assert!(!set.contains(start + length));
        prop_assert!(length == 0 || (set.contains(start) && set.contains(start + length - 1)));
    }
}

#[test]
fn a_chunk_that_fills_up_takes_no_room() {
    let mut set = IdSet::range(0..CHUNK - 1);
    assert!(set.insert(CHUNK - 1) && !set.insert(5));
    assert_eq!(set, IdSet::range(0..CHUNK));
    assert!(matches!(set.chunk(0).map(|ids| &**ids), Some(Chunk::All)));
}

#[test]
fn a_probe_tells_the_places_of_what_is_in_the_set() {
    let mut set = IdSet::default();
    for id in [3, 70_000, 70_001, 1 << 40] {
        set.insert(id);
    }
    let mut rows = vec![9];
    set.probe().rows_of(&[1, 3, 70_001, 1 << 40, 5], &mut rows);
    assert_eq!(rows, [1, 2, 3]);
    set.probe().rows_of(&[], &mut rows);
    assert!(rows.is_empty());
}

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn slabs(number: u64) -> Vec<Slabs> {
    vec![Slabs { first: number, last: number, count: 1, oldest_ms: 0 }]
}

proptest! {
    #[test]
    fn a_head_holds_the_last_sample_of_each_time(groups in prop::collection::vec(
        prop::collection::vec((0u32..12, 0i64..30, any::<i32>()), 0..20), 0..60,
    ), start in 0i64..30, length in 0i64..30) {
        let mut model: BTreeMap<(u32, i64), f64> = BTreeMap::new();
        let mut head = Head::default();
        let mut before = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let mut rows = Rows::default();
            for (id, time, value) in group {
                rows.push(*id, *time, f64::from(*value));
                model.insert((*id, *time), f64::from(*value));
            }
            head.push(rows, slabs(number as u64), None);
            if number == groups.len() / 2 {
                before = vec![(head.clone(), model.clone())];
            }
        }
        before.push((head.clone(), model));
        for (head, model) in before {
            for id in 0..12 {
                let mut found = Columns::default();
                head.collect(id, (start, start + length), None, &mut found);
                found.settle();
                let expected: Vec<_> = model.range((id, start)..=(id, start + length)).map(|((_, time), value)| (*time, *value)).collect();
                prop_assert_eq!(found.times.into_iter().zip(found.values).collect::<Vec<_>>(), expected);
            }
        }
        prop_assert!(head.section_count() < 24, "{} blocks", head.section_count());
    }
}

proptest! {
    #[test]
    fn counting_and_sorting_make_the_same_block(
        rows in prop::collection::vec((0u32..40, 0i64..30), 1..200), in_order in any::<bool>(), first in any::<u32>(),
    ) {
        let mut made = Rows::default();
        for (at, (id, time)) in (0i32..).zip(&rows) {
            let time_ms = if in_order { i64::from(at) } else { *time };
            made.push(id.saturating_add(first), time_ms, f64::from(at));
        }
        let counted = Block::by_counting(&made);
        prop_assert!(counted.is_some() || !in_order || rows.len() < 10);
        if let Some(counted) = counted {
            prop_assert_eq!(counted, Block::by_sorting(made));
        }
    }
}

/// One sample of a series for each slab, its number for time and value.
fn numbered(rows: std::ops::Range<u64>, held: Option<u64>, head: &mut Head) {
    for slab in rows {
        let mut rows = Rows::default();
        rows.push(3, slab.cast_signed(), 1.0);
        head.push(rows, slabs(slab), held);
    }
}

fn times(head: &Head, sealed: Option<u64>) -> Vec<i64> {
    let mut found = Columns::default();
    head.collect(3, (i64::MIN, i64::MAX), sealed, &mut found);
    found.times
}

proptest! {
    #[test]
    fn what_is_held_is_let_go_of_exactly(before in 1u64..300, wanted in 1u64..300, after in 0u64..300) {
        let mut head = Head::default();
        numbered(0..before, None, &mut head);
        let oldest = head.oldest(wanted);
        let through = *oldest.slabs.last().unwrap();
        prop_assert_eq!(&oldest.slabs, &(0..=through).collect::<Vec<_>>());
        prop_assert!(through + 1 >= wanted.min(before));
        let mut merged = Merged::from(&oldest.blocks, 0);
        prop_assert_eq!(merged.next().map(|(id, run)| (id, run.times.len())), Some((3, oldest.slabs.len())));
        numbered(before..before + after, Some(through), &mut head);
        let rest: Vec<i64> = (through + 1..before + after).map(u64::cast_signed).collect();
        prop_assert_eq!(&times(&head, Some(through)), &rest);
        let left = head.behind(through).unwrap();
        prop_assert_eq!(&times(&left, None), &rest);
        prop_assert_eq!(left.samples, rest.len() as u64);
        let expected = rest.first().map(|first| (first.cast_unsigned(), before + after - 1, rest.len() as u64));
        prop_assert_eq!(left.slabs.map(|slabs| (slabs.first, slabs.last, slabs.count)), expected);
    }
}

#[test]
fn samples_that_were_merged_with_later_ones_are_not_let_go_of() {
    let mut head = Head::default();
    numbered(0..4, None, &mut head);
    assert_eq!(head.behind(2).map(|left| left.samples), Some(1));
    numbered(4..8, None, &mut head);
    assert_eq!((head.section_count(), head.behind(2).is_none()), (1, true));
    assert_eq!(times(&head, Some(2)).len(), 8);
    assert_eq!(head.behind(7).map(|left| left.samples), Some(0));
}

#[test]
fn slabs_are_counted() {
    let mut head = Head::default();
    let rows = |id| {
        let mut rows = Rows::default();
        rows.push(id, 1, 1.0);
        rows
    };
    head.push(rows(1), vec![Slabs { first: 5, last: 6, count: 2, oldest_ms: 77 }], None);
    head.push(rows(1), vec![Slabs { first: 9, last: 9, count: 1, oldest_ms: 99 }], None);
    assert_eq!(head.slabs, Some(Slabs { first: 5, last: 9, count: 3, oldest_ms: 77 }));
    assert_eq!(head.samples, 2);
}

#[test]
fn sorted_rows_are_taken_as_they_are() {
    let mut rows = Rows::default();
    for (id, time) in [(3, 1), (3, 2), (3, 5), (7, 1), (9, 0), (9, 4)] {
        rows.push(id, time, f64::from(id));
    }
    let block = Block::of(rows);
    let get = |id| block.get(id).map(|run| (run.times, run.values));
    assert_eq!(get(3), Some((&[1, 2, 5][..], &[3.0, 3.0, 3.0][..])));
    assert_eq!(get(7), Some((&[1][..], &[7.0][..])));
    assert_eq!(get(9), Some((&[0, 4][..], &[9.0, 9.0][..])));
    assert_eq!((get(4), block.len()), (None, 6));
}

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn slabs(number: u64) -> Slabs {
    Slabs { first: number, last: number, count: 1, oldest_ms: 0 }
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
            head.push(rows, slabs(number as u64));
            if number == groups.len() / 2 {
                before = vec![(head.clone(), model.clone())];
            }
        }
        before.push((head.clone(), model));
        for (head, model) in before {
            for id in 0..12 {
                let mut found = Columns::default();
                head.collect(id, (start, start + length), &mut found);
                found.settle();
                let expected: Vec<_> = model.range((id, start)..=(id, start + length)).map(|((_, time), value)| (*time, *value)).collect();
                prop_assert_eq!(found.times.into_iter().zip(found.values).collect::<Vec<_>>(), expected);
            }
        }
        prop_assert!(head.blocks().len() < 24, "{} blocks", head.blocks().len());
    }
}

#[test]
fn slabs_are_counted() {
    let mut head = Head::default();
    let rows = |id| {
        let mut rows = Rows::default();
        rows.push(id, 1, 1.0);
        rows
    };
    head.push(rows(1), Slabs { first: 5, last: 6, count: 2, oldest_ms: 77 });
    head.push(rows(1), Slabs { first: 9, last: 9, count: 1, oldest_ms: 99 });
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

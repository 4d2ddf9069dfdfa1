use super::*;
use proptest::prelude::*;

fn at(hours: i64) -> Timestamp {
    Timestamp(hours * HOUR_MS + 1)
}

#[test]
fn the_newest_of_each_hour_and_day_and_the_one_before_the_window_are_kept() {
    let keep = Keep { last: 1, hourly: 2, daily: 0 };
    let times = [at(1), at(5), Timestamp(at(9).0), Timestamp(at(9).0 + 10), at(10)];
    let released = keep.to_release(&times, at(10));
    // Hours 9 and 10 keep their newest; hour 5 is the last before the window.
    assert_eq!(released, BTreeSet::from([at(1), at(9)]));
    let daily = Keep { last: 1, hourly: 0, daily: 1 };
    assert_eq!(daily.to_release(&[at(1), at(2), at(30), at(31)], at(32)), BTreeSet::from([at(1), at(30)]));
}

proptest! {
    #[test]
    fn what_is_kept_covers_every_hour_that_has_a_cut(
        hours in proptest::collection::btree_set(0_i64..400, 1..60),
        last in 1_usize..5, hourly in 0_usize..30, daily in 0_usize..10,
    ) {
        let times: Vec<_> = hours.iter().map(|hour| at(*hour)).collect();
        let now = *times.last().unwrap();
        let keep = Keep { last, hourly, daily };
        let released = keep.to_release(&times, now);
        let kept: Vec<_> = times.iter().filter(|time| !released.contains(time)).collect();
        prop_assert!(kept.contains(&times.last().unwrap()));
        prop_assert!(kept.len() >= last.min(times.len()));
        prop_assert!(kept.len() <= last + hourly + daily + 2);
        for time in &times {
            let age = now.0.div_euclid(HOUR_MS) - time.0.div_euclid(HOUR_MS);
            if age < hourly as i64 {
                prop_assert!(kept.iter().any(|found| found.0.div_euclid(HOUR_MS) == time.0.div_euclid(HOUR_MS)));
            }
        }
        // Letting go twice lets go of nothing more.
        let left: Vec<_> = kept.into_iter().copied().collect();
        prop_assert!(keep.to_release(&left, now).is_empty());
    }
}

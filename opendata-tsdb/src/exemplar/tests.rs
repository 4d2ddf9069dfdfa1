use proptest::prelude::*;

use super::*;
use crate::labels;

fn exemplar(at: i64, value: f64, trace: &str) -> Exemplar {
    Exemplar { labels: labels! { "trace_id" => trace }, value, at: Timestamp(at) }
}

#[test]
fn golden_bytes() {
    let row = encode(&[exemplar(100, 1.5, "a"), exemplar(101, 1.5, "b")]);
    let golden = [
        &[1, 0xc8, 1][..],
        &1.5f64.to_bits().to_le_bytes(),
        b"\x01\x08trace_id\x01a\x02",
        &1.5f64.to_bits().to_le_bytes(),
        b"\x01\x08trace_id\x01b",
    ];
    assert_eq!(row, golden.concat());
}

#[test]
fn the_newest_are_kept() {
    let rows: Vec<Bytes> = (0..200i64).map(|at| row(vec![exemplar(at, 0.0, "x")])).collect();
    let kept = decode(&merge(rows.iter().map(AsRef::as_ref)).unwrap()).unwrap();
    assert_eq!((kept.len(), kept[0].at.0, kept[127].at.0), (MOST_EXEMPLARS, 72, 199));
    let twice = merge([&rows[0][..], &rows[0][..]].into_iter()).unwrap();
    assert_eq!(twice, rows[0], "an exemplar that is written again is the same one");
}

#[test]
fn a_range_of_times_is_taken_out() {
    let row = encode(&[exemplar(1, 0.0, "a"), exemplar(2, 0.0, "b"), exemplar(3, 0.0, "c")]);
    let left = without(&row, (2, 3)).unwrap().unwrap();
    assert_eq!(decode(&left).unwrap(), [exemplar(1, 0.0, "a")]);
    assert_eq!(without(&left, (0, 9)).unwrap(), None);
}

proptest! {
    #[test]
    fn merging_is_associative(times in prop::collection::vec((0i64..90, 0u8..3), 0..400), cut in 0usize..400) {
        let rows: Vec<Bytes> = times.iter().map(|(at, n)| row(vec![exemplar(*at, f64::from(*n), "t")])).collect();
        let whole = merge(rows.iter().map(AsRef::as_ref)).unwrap();
        let (a, b) = rows.split_at(cut.min(rows.len()));
        let parts = [merge(a.iter().map(AsRef::as_ref)).unwrap(), merge(b.iter().map(AsRef::as_ref)).unwrap()];
        prop_assert_eq!(merge(parts.iter().map(AsRef::as_ref)).unwrap(), whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        bytes.insert(0, LAYOUT);
        let _ = merge(std::iter::once(&bytes[..]));
    }
}

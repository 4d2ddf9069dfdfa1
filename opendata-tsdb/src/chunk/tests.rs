use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn row(samples: &[(i64, f64)]) -> Bytes {
    let (times, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
    floats(&times, &values)
}

fn floats(times: &[i64], values: &[f64]) -> Bytes {
    encode_row(Columns { times: times.to_vec(), values: values.to_vec(), ..Columns::default() }.as_samples())
}

fn bits(columns: &Columns) -> Vec<(i64, u64)> {
    columns.times.iter().copied().zip(columns.values.iter().map(|value| value.to_bits())).collect()
}

fn read(row: &[u8]) -> Columns {
    let mut out = Columns::default();
    decode_row(row, &mut Scratch::default(), &mut out).unwrap();
    out
}

#[test]
fn golden_bytes() {
    let golden: &[u8] = &[
        1,
        18, // layout, length
        1,
        3,
        0xd0,
        0x0f,
        20,
        2, // floats, 3 samples, from 1000 ms, 20 ms long, never decreases
        9,
        0,
        10,
        2, // times: deltas of 1 in units of 10
        1,
        0,
        0,
        2, // values: decimals with exponent 0, no exceptions, the first is 1
        0,
        2,
        2,
        0b0000_1100, // offsets 1 and 4: above 1, 2 bits wide
    ];
    assert_eq!(row(&[(1000, 1.0), (1010, 2.0), (1020, 5.0)]), golden);
}

/// A row of samples with the times since when they count.
fn since(samples: &[(i64, f64)], starts: &[i64]) -> Columns {
    let (times, values) = samples.iter().copied().unzip();
    Columns { times, values, starts: starts.to_vec(), ..Columns::default() }
}

fn starts_of(columns: &Columns) -> Vec<i64> {
    (0..columns.len()).map(|at| columns.as_samples().start(at)).collect()
}

#[test]
fn golden_bytes_with_start_times() {
    let golden: &[u8] = &[
        1,
        24, // layout, length
        3,
        3,
        0xd0,
        0x0f,
        20,
        2, // floats with starts, 3 samples, from 1000 ms, 20 ms long, never decreases
        9,
        0,
        10,
        2, // times: deltas of 1 in units of 10
        0,
        0xc8,
        0x01,
        0,
        0,
        0, // starts themselves: 100, then offsets of 0
        1,
        0,
        0,
        2,
        0,
        2,
        2,
        0b0000_1100, // values: decimals with exponent 0, from 1, offsets 1 and 4
    ];
    let row = encode_row(since(&[(1000, 1.0), (1010, 2.0), (1020, 5.0)], &[100; 3]).as_samples());
    assert_eq!(row, golden);
}

#[test]
fn start_times_cost_a_few_bytes_a_chunk_and_nothing_where_there_are_none() {
    let times: Vec<i64> = (0..1000).map(|at| NOON + at * 15_000 + (at * 7919) % 13).collect();
    let samples: Vec<(i64, f64)> = times.iter().map(|time| (*time, 1.0)).collect();
    let bytes = |starts: &[i64]| encode_row(since(&samples, starts).as_samples()).len();
    let without = bytes(&[]);
    assert_eq!(bytes(&[0; 1000]), without);
    assert_eq!(bytes(&[NOON - 77; 1000]), without + 10, "one process");
    let mut restarted = vec![NOON - 77; 400];
    restarted.resize(1000, NOON + 401 * 15_000);
    assert!(bytes(&restarted) < without + 150, "one process after the other");
    let from_last: Vec<i64> = times.iter().take(1).chain(&times).copied().take(1000).collect();
    assert_eq!(bytes(&from_last), without + 5, "deltas");
}

const NOON: i64 = 1_700_000_000_000;

#[test]
fn statistics_leave_nan_out() {
    let mut samples: Vec<(i64, f64)> = (0..100).map(|i| (i64::from(i), f64::from(i))).collect();
    samples[7].1 = f64::NAN;
    let row = row(&samples);
    let chunk = chunks(&row).unwrap().next().unwrap().unwrap();
    assert_eq!(chunk.statistics, Some(Statistics { min: 0.0, max: 99.0, sum: 4943.0 }));
    assert_eq!((chunk.flags, chunk.count, chunk.first_ms, chunk.last_ms), (HAS_STATISTICS | HAS_NAN, 100, 0, 99));
}

#[test]
fn a_range_reads_only_what_it_touches() {
    let samples: Vec<(i64, f64)> = (0..3000).map(|i| (i64::from(i) * 10, f64::from(i % 17))).collect();
    let row = row(&samples);
    assert_eq!(chunks(&row).unwrap().count(), 3);
    let mut out = Columns::default();
    decode_range(&row, (10_235, 20_500), &mut Scratch::default(), &mut out).unwrap();
    assert_eq!(out.times.first(), Some(&10_240));
    assert_eq!(out.times.last(), Some(&20_500));
    assert_eq!(out.len(), 1027);
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![
        4 => (-50i32..50).prop_map(f64::from),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(f64::from_bits(0x7ff0_0000_0000_0002)),
    ];
    prop::collection::vec((0i64..400, value), 0..200)
}

proptest! {
    #[test]
    fn rows_come_back_bit_for_bit(mut samples in samples()) {
        samples.sort_by_key(|sample| sample.0);
        samples.dedup_by_key(|sample| sample.0);
        let back = read(&row(&samples));
        let expected: Vec<_> = samples.iter().map(|(time, value)| (*time, value.to_bits())).collect();
        prop_assert_eq!(bits(&back), expected);
    }

    #[test]
    fn merging_is_associative_and_the_last_wins(parts in prop::collection::vec(samples(), 1..6), cut in 0usize..6) {
        let rows: Vec<Bytes> = parts.iter().map(|part| {
            let mut columns = Columns { times: part.iter().map(|s| s.0).collect(), values: part.iter().map(|s| s.1).collect(), ..Columns::default() };
            columns.settle();
            encode_row(columns.as_samples())
        }).collect();
        let cut = cut.min(rows.len());
        let whole = merge_rows(rows.iter().map(AsRef::as_ref)).unwrap();
        let left = merge_rows(rows[..cut].iter().map(AsRef::as_ref)).unwrap();
        let right = merge_rows(rows[cut..].iter().map(AsRef::as_ref)).unwrap();
        let both = merge_rows([left.as_ref(), right.as_ref()].into_iter()).unwrap();
        prop_assert_eq!(&whole, &both);
        let mut model = std::collections::BTreeMap::new();
        for (time, value) in parts.iter().flatten() {
            model.insert(*time, value.to_bits());
        }
        prop_assert_eq!(bits(&read(&whole)), model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn start_times_come_back(
        mut samples in samples(),
        starts in prop::collection::vec(prop_oneof![3 => Just(0i64), 3 => Just(100), 2 => 0i64..400, 1 => any::<i64>()], 0..200),
        cut in any::<prop::sample::Index>(),
        (start, length) in (0i64..400, 0i64..400),
    ) {
        samples.sort_by_key(|sample| sample.0);
        samples.dedup_by_key(|sample| sample.0);
        let mut starts = starts;
        starts.truncate(samples.len());
        let all = since(&samples, &starts);
        let expected = starts_of(&all);
        let row = encode_row(all.as_samples());
        let back = read(&row);
        prop_assert_eq!((bits(&back), starts_of(&back)), (bits(&all), expected.clone()));
        // In two rows, whichever comes first, and of a part of the times.
        let (front, behind) = all.as_samples().split_at(cut.index(samples.len() + 1));
        let (front, behind) = (encode_row(front), encode_row(behind));
        prop_assert_eq!(&merge_rows([front.as_ref(), behind.as_ref()].into_iter()).unwrap(), &row);
        prop_assert_eq!(&merge_rows([behind.as_ref(), front.as_ref()].into_iter()).unwrap(), &row);
        let mut part = Columns::default();
        decode_range(&row, (start, start + length), &mut Scratch::default(), &mut part).unwrap();
        let inside = |time: i64| (start..=start + length).contains(&time);
        let wanted: Vec<i64> =
            all.times.iter().zip(expected).filter(|(time, _)| inside(**time)).map(|(_, start)| start).collect();
        prop_assert_eq!(starts_of(&part), wanted);
    }

    #[test]
    fn a_flipped_byte_among_start_times_never_panics(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let samples: Vec<(i64, f64)> = (0..70).map(|at| (at * 10, at as f64)).collect();
        let starts: Vec<i64> = (0..70).map(|at| if at % 9 == 0 { 0 } else { at * 10 - at % 7 }).collect();
        let mut bytes = encode_row(since(&samples, &starts).as_samples()).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = merge_rows([bytes.as_slice()].into_iter());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        bytes.insert(0, LAYOUT);
        let _ = merge_rows([bytes.as_slice()].into_iter());
    }

    #[test]
    fn a_flipped_byte_never_panics(samples in samples(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut samples = samples;
        samples.sort_by_key(|sample| sample.0);
        samples.dedup_by_key(|sample| sample.0);
        let mut bytes = row(&samples).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = merge_rows([bytes.as_slice()].into_iter());
    }
}

/// Bytes a sample on shapes as an exporter gives them, and how fast they are read. Run with `--ignored --nocapture`.
#[test]
#[ignore = "prints figures, checks nothing"]
fn sizes() {
    let mut random = StdRng::seed_from_u64(7);
    let n = 480i64;
    let grid: Vec<i64> = (0..n).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let jitter: Vec<i64> = grid.iter().map(|time| time + random.random_range(-4..5)).collect();
    let mut total = 0.0;
    let cpu: Vec<f64> = (0..n)
        .map(|_| {
            total += f64::from(random.random_range(0..1500)) / 100.0;
            (total * 100.0f64).round() / 100.0
        })
        .collect();
    let mut total = 0.0;
    let counter: Vec<f64> = (0..n)
        .map(|_| {
            total += f64::from(random.random_range(0..90_000));
            total
        })
        .collect();
    let mut free = 8_000_000_000i64;
    let memory: Vec<f64> = (0..n)
        .map(|_| {
            free += 4096 * random.random_range(-300i64..300);
            free as f64
        })
        .collect();
    let load: Vec<f64> = (0..n).map(|i| (100.0 * (1.0 + (i as f64 / 30.0).sin())).round() / 100.0).collect();
    let ratio: Vec<f64> = (0..n).map(|_| random.random::<f64>()).collect();
    let flat = vec![4.0; 480];
    let idle: Vec<f64> = (0..n).map(|i| f64::from(i > 300)).collect();
    for (name, values) in [
        ("cpu seconds", cpu),
        ("counter", counter),
        ("memory", memory),
        ("load", load),
        ("random", ratio),
        ("flat", flat),
        ("up", idle),
    ] {
        for (clock, times) in [("grid", &grid), ("jitter", &jitter)] {
            let row = floats(times, &values);
            let (mut scratch, mut out) = (Scratch::default(), Columns::default());
            let rounds = 2000;
            let begin = std::time::Instant::now();
            for _ in 0..rounds {
                out.times.clear();
                out.values.clear();
                decode_row(&row, &mut scratch, &mut out).unwrap();
            }
            let read = begin.elapsed().as_nanos() as f64 / f64::from(rounds) / 480.0;
            let begin = std::time::Instant::now();
            for _ in 0..rounds {
                std::hint::black_box(floats(times, &values));
            }
            let write = begin.elapsed().as_nanos() as f64 / f64::from(rounds) / 480.0;
            println!(
                "{name:>12} {clock:>7}: {:.2} bytes/sample, read {read:.1} ns, write {write:.1} ns",
                row.len() as f64 / 480.0
            );
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::chunk::{chunks, decode_row, encode_row, merge_rows};
use crate::columns::Columns;

fn buckets(first: i32, counts: &[f64]) -> Buckets {
    Buckets::from_indexed((first..).zip(counts.iter().copied()))
}

fn histogram(n: f64) -> Histogram {
    Histogram {
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 4.0 * n + 1.0,
        sum: 1.5 * n,
        positive: buckets(-2, &[n, 2.0 * n]),
        negative: buckets(1, &[n]),
        ..Histogram::default()
    }
}

fn row(samples: Vec<(i64, Histogram)>) -> bytes::Bytes {
    let mut columns = Columns::default();
    samples.into_iter().for_each(|(time, one)| columns.push_histogram(time, Arc::new(one)));
    encode_row(columns.as_samples())
}

/// Everything a histogram says, NaN included.
fn text(one: &Histogram) -> String {
    let bits = |counts: &[f64]| counts.iter().map(|count| count.to_bits()).collect::<Vec<_>>();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?}",
        one.counter_reset,
        one.schema,
        bits(&[one.zero_threshold, one.zero_count, one.count, one.sum]),
        (&one.positive.spans, bits(&one.positive.counts)),
        (&one.negative.spans, bits(&one.negative.counts)),
        bits(&one.custom_bounds)
    )
}

#[test]
fn golden_bytes_of_one() {
    let mut out = Encoder::default();
    encode_one(&mut out, &histogram(1.0));
    let golden = [
        &[3][..],                          // schema
        &0.001f64.to_bits().to_le_bytes(), // zero threshold
        &[0, 1, 3, 2, 1, 2, 1],            // no bounds; 2 buckets from -2 on; 1 bucket from 1 on
        &[0],                              // nothing known of resets
        &1.5f64.to_bits().to_le_bytes(),   // sum
        &[1, 0, 0, 10, 0, 1, 7, 0b0100],   // count 5, then zero count and buckets above 1: 0, 0, 1, 0
    ];
    let found = out.as_slice();
    assert_eq!(found, golden.concat());
    assert_eq!(text(&decode_one(&mut Decoder::new(found)).unwrap()), text(&histogram(1.0)));
}

#[test]
fn golden_bytes_of_a_chunk() {
    let found = row(vec![(1000, histogram(1.0)), (1010, histogram(2.0))]);
    let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = [
        "01",                                 // layout
        "470202d00f0a00",                     // length; 2 histograms from 1000 ms, 10 ms long, no flags
        "08000a02",                           // times: one step of 10
        "0103fca9f1d24d62503f00010302010201", // one shape: schema, zero threshold, no bounds, spans
        "00000000",                           // nothing known of resets
        "0100000a08000402",                   // counts: integers, the first is 5, then one step of 4
        "0402",                               // zero counts: always 1
        "0101001e08000f02",                   // sums: tenths, the first is 15, then one step of 15
        "01000002000002",                     // the bucket -2: 1, then 1 more
        "0100000408000202",                   // the bucket -1: 2, then 2 more
        "01000002000002",                     // the negative bucket 1
    ];
    assert_eq!(hex, golden.concat());
}

#[test]
fn many_histograms_that_grow_take_little() {
    let many: Vec<_> = (0..120).map(|n| (i64::from(n) * 15_000, histogram(f64::from(n * 7)))).collect();
    let bytes = row(many).len();
    assert!(bytes < 120 * 3, "{bytes} bytes for 120 histograms of 3 buckets");
}

#[test]
fn floats_and_histograms_stand_in_chunks_of_their_own() {
    let mut columns = Columns::default();
    for time in 0..300 {
        match time {
            100..250 => columns.push_histogram(time, Arc::new(histogram(1.0))),
            _ => columns.push(time, 0.5),
        }
    }
    let row = encode_row(columns.as_samples());
    let kinds: Vec<_> =
        chunks(&row).unwrap().map(|chunk| chunk.map(|one| (one.has_histograms(), one.count)).unwrap()).collect();
    assert_eq!(kinds, [(false, 100), (true, 128), (true, 22), (false, 50)]);
    let mut back = Columns::default();
    decode_row(&row, &mut Scratch::default(), &mut back).unwrap();
    assert_eq!(back, columns);
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let spans = || prop::collection::vec((-3i32..9, prop_oneof![Just(0u32), 1..5u32]), 0..4);
    let bits = any::<u64>().prop_map(f64::from_bits);
    let number = prop_oneof![4 => (0u32..1000).prop_map(f64::from), 1 => bits];
    (
        spans(),
        spans(),
        prop::collection::vec(number, 40),
        -4i8..=8,
        prop::collection::vec(-9.0..9.0f64, 0..3),
        0usize..4,
    )
        .prop_map(|(positive, negative, numbers, schema, bounds, reset)| {
            let spans = |spans: Vec<(i32, u32)>| -> Vec<Span> {
                spans.into_iter().map(|(offset, length)| Span { offset: offset.max(0), length }).collect()
            };
            let (positive, negative) = (spans(positive), spans(negative));
            let length = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
            let counts = |from: usize, spans: &[Span]| numbers[from..from + length(spans)].to_vec();
            Histogram {
                counter_reset: reset_of(reset as i64).unwrap(),
                schema,
                zero_threshold: numbers[38],
                zero_count: numbers[37],
                count: numbers[36],
                sum: numbers[35],
                positive: Buckets { counts: counts(0, &positive), spans: positive },
                negative: Buckets { counts: counts(16, &negative), spans: negative },
                custom_bounds: bounds.into(),
            }
        })
}

fn any_samples() -> impl Strategy<Value = Vec<(i64, Option<Histogram>)>> {
    let value = prop_oneof![3 => any_histogram().prop_map(Some), 1 => Just(None)];
    prop::collection::vec((0i64..200, value), 0..40)
}

fn columns_of(samples: &[(i64, Option<Histogram>)]) -> Columns {
    let mut columns = Columns::default();
    for (time, value) in samples {
        match value {
            Some(one) => columns.push_histogram(*time, Arc::new(one.clone())),
            None => columns.push(*time, 7.0),
        }
    }
    columns.settle();
    columns
}

fn texts(columns: &Columns) -> Vec<(i64, String)> {
    let samples = columns.as_samples();
    let value = |at: usize| match samples.histogram(at) {
        Some(one) => text(one),
        None => samples.values[at].to_string(),
    };
    samples.times.iter().enumerate().map(|(at, time)| (*time, value(at))).collect()
}

proptest! {
    #[test]
    fn one_comes_back_bit_for_bit(one in any_histogram()) {
        let mut out = Encoder::default();
        encode_one(&mut out, &one);
        let mut bytes = Decoder::new(out.as_slice());
        prop_assert_eq!(text(&decode_one(&mut bytes).unwrap()), text(&one));
        bytes.finish().unwrap();
    }

    #[test]
    fn mixed_rows_merge_as_a_model_does(parts in prop::collection::vec(any_samples(), 1..4), cut in 0usize..4) {
        let rows: Vec<_> = parts.iter().map(|part| encode_row(columns_of(part).as_samples())).collect();
        let whole = merge_rows(rows.iter().map(AsRef::as_ref)).unwrap();
        let (a, b) = rows.split_at(cut.min(rows.len()));
        let halves = [a, b].map(|half| merge_rows(half.iter().map(AsRef::as_ref)).unwrap());
        prop_assert_eq!(&merge_rows(halves.iter().map(AsRef::as_ref)).unwrap(), &whole);
        let mut back = Columns::default();
        decode_row(&whole, &mut Scratch::default(), &mut back).unwrap();
        let expected = columns_of(&parts.concat());
        prop_assert_eq!(texts(&back), texts(&expected));
    }

    #[test]
    fn a_stretch_holds_what_the_columns_hold(samples in any_samples(), from in 0usize..40, to in 0usize..40) {
        let columns = columns_of(&samples);
        let (from, to) = (from.min(to).min(columns.len()), from.max(to).min(columns.len()));
        let mut stretch = Columns::default();
        stretch.push(-1, 1.0);
        stretch.extend(columns.as_samples().range(from..to));
        prop_assert_eq!(&texts(&stretch)[1..], &texts(&columns)[from..to]);
        let mut rest = columns.clone();
        if let (Some(first), Some(last)) = (stretch.times.get(1), stretch.times.last()) {
            rest.remove((*first, *last));
        }
        let expected: Vec<_> = texts(&columns).into_iter().enumerate().filter(|(at, _)| !(from..to).contains(at)).map(|(_, one)| one).collect();
        prop_assert_eq!(texts(&rest), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 1usize..128) {
        let _ = decode_one(&mut Decoder::new(&bytes));
        let _ = decode(&mut Decoder::new(&bytes), count, &mut Scratch::default());
    }
}

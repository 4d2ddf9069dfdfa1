use super::*;
use crate::proto::{put_bytes, put_double_always, put_unsigned, put_varint};

fn bytes(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(number, value)| put_bytes(&mut out, *number, value));
    out
}

fn double(number: u32, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    put_double_always(&mut out, number, value);
    out
}

fn count(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_unsigned(&mut out, number, value);
    out
}

/// A family of one metric.
fn family(name: &str, kind: u64, metric: &[u8]) -> Vec<u8> {
    let head = bytes(&[(1, name.as_bytes()), (2, b"what\nit is")]);
    let message = [head, count(3, kind), bytes(&[(4, metric)])].concat();
    let mut out = Vec::new();
    put_varint(&mut out, message.len() as u64);
    [out, message].concat()
}

#[test]
fn families_become_text() {
    let job = bytes(&[(1, b"job"), (2, b"a\"b")]);
    let exemplar = [bytes(&[(1, &bytes(&[(1, b"trace"), (2, b"t1")]))]), double(2, 0.5)].concat();
    let counter = bytes(&[(1, &job), (3, &[double(1, 3.0), bytes(&[(2, &exemplar)])].concat())]);
    let quantile = [double(1, 0.5), double(2, 7.0)].concat();
    let summary = bytes(&[(4, &[count(1, 2), double(2, 9.0), bytes(&[(3, &quantile)])].concat())]);
    let gauge = [bytes(&[(2, &double(1, f64::NAN))]), count(6, 1500)].concat();
    let all = [family("hits_total", 0, &counter), family("took", 2, &summary), family("odd.name", 1, &gauge)].concat();
    let read = read(&all, Wanted::Native).unwrap();
    assert!(read.natives.is_empty());
    let wanted = "# TYPE hits_total counter\n# HELP hits_total what\\nit is\n\
        hits_total{job=\"a\\\"b\"} 3 # {trace=\"t1\"} 0.5\n\
        # TYPE took summary\n# HELP took what\\nit is\ntook{quantile=\"0.5\"} 7\ntook_sum 9\ntook_count 2\n\
        # TYPE \"odd.name\" gauge\n# HELP \"odd.name\" what\\nit is\n{\"odd.name\"} NaN 1.500\n# EOF\n";
    assert_eq!(read.text, wanted);
}

#[test]
fn a_histogram_of_both_kinds_is_what_is_wanted_of_it() {
    let bucket = [count(1, 2), double(2, 1.0)].concat();
    let span = [count(1, 2), count(2, 2)].concat();
    let histogram = [
        count(1, 5),
        double(2, 6.0),
        bytes(&[(3, &bucket)]),
        count(5, 2),
        double(6, 0.001),
        count(7, 1),
        // Two buckets from index 1 on, of 3 and 1.
        bytes(&[(12, &span), (13, &[6, 3])]),
    ]
    .concat();
    let all = family("took", 4, &bytes(&[(7, &histogram)]));
    let both = read(&all, Wanted::Both).unwrap();
    let [native] = both.natives.as_slice() else { panic!("{both:?}") };
    assert_eq!((native.histogram.schema, native.histogram.count, native.histogram.zero_count), (1, 5.0, 1.0));
    assert_eq!(native.histogram.positive.indexed().collect::<Vec<_>>(), [(1, 3.0), (2, 1.0)]);
    assert!(both.text.contains("took_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 5\ntook_sum 6\ntook_count 5\n"));
    assert!(!read(&all, Wanted::Native).unwrap().text.contains("bucket"));
    let classic = read(&all, Wanted::Classic).unwrap();
    assert!(classic.natives.is_empty() && classic.text.contains("took_count 5"));
}

#[test]
fn damaged_bytes_are_an_error() {
    let all = family("up", 1, &bytes(&[(2, &double(1, 1.0))]));
    for end in 1..all.len() {
        assert!(read(&all[..end], Wanted::Both).is_err(), "{end}");
    }
    let mut turned = all.clone();
    for at in 0..all.len() {
        for bit in 0..8 {
            turned[at] ^= 1 << bit;
            // An answer or an error, no panic.
            let _ = read(&turned, Wanted::Both);
            turned[at] ^= 1 << bit;
        }
    }
}

//! Writes families, for federation.

use opendata_tsdb::{Histogram, Labels, METRIC_NAME, Metadata, MetricKind};

use crate::proto::{
    put_bytes, put_double, put_double_always, put_doubles, put_label, put_unsigned, put_varint, zigzag,
};

/// One sample that is told.
pub(crate) enum Told<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

/// Writes the family of a metric. Floats of a kind that a single number cannot show are of no known kind.
pub(crate) fn write(out: &mut Vec<u8>, metric: &str, known: Option<&Metadata>, samples: &[(&Labels, i64, Told<'_>)]) {
    let floats = samples.iter().filter(|(_, _, told)| matches!(told, Told::Float(_)));
    let kind = match known.map(|known| known.kind) {
        Some(MetricKind::Counter) => 0,
        Some(MetricKind::Gauge) => 1,
        _ => 3,
    };
    family(out, metric, known, kind, floats);
    for (kind, gauge) in [(4, false), (5, true)] {
        let of_kind = samples
            .iter()
            .filter(|(_, _, told)| matches!(told, Told::Histogram(histogram) if histogram.is_gauge() == gauge));
        family(out, metric, known, kind, of_kind);
    }
}

fn family<'a>(
    out: &mut Vec<u8>,
    metric: &str,
    known: Option<&Metadata>,
    kind: u64,
    samples: impl Iterator<Item = &'a (&'a Labels, i64, Told<'a>)>,
) {
    let mut message = Vec::new();
    for (labels, at_ms, told) in samples {
        let mut one = Vec::new();
        for label in labels.iter().filter(|label| label.name() != METRIC_NAME) {
            put_label(&mut one, 1, label.name(), label.value());
        }
        let mut value = Vec::new();
        match told {
            Told::Float(number) => {
                put_double_always(&mut value, 1, *number);
                put_bytes(&mut one, field(kind), &value);
            }
            Told::Histogram(histogram) => {
                native(&mut value, histogram);
                put_bytes(&mut one, 7, &value);
            }
        }
        put_unsigned(&mut one, 6, at_ms.cast_unsigned());
        put_bytes(&mut message, 4, &one);
    }
    if message.is_empty() {
        return;
    }
    let mut head = Vec::new();
    put_bytes(&mut head, 1, metric.as_bytes());
    if let Some(known) = known.filter(|known| !known.help.is_empty()) {
        put_bytes(&mut head, 2, known.help.as_bytes());
    }
    put_unsigned(&mut head, 3, kind);
    put_varint(out, (head.len() + message.len()) as u64);
    out.extend(head);
    out.extend(message);
}

/// The field of a metric that holds a value of a kind.
fn field(kind: u64) -> u32 {
    match kind {
        0 => 3,
        1 => 2,
        _ => 5,
    }
}

/// A native histogram with float counts. One with bounds of its own has no native form here: it is told as a classic one.
fn native(out: &mut Vec<u8>, histogram: &Histogram) {
    put_double(out, 2, histogram.sum);
    put_double_always(out, 4, histogram.count);
    if histogram.has_custom_bounds() {
        for (until, count) in cumulative(histogram) {
            let mut bucket = Vec::new();
            put_double_always(&mut bucket, 2, until);
            put_double_always(&mut bucket, 4, count);
            put_bytes(out, 3, &bucket);
        }
        return;
    }
    put_unsigned(out, 5, zigzag(i64::from(histogram.schema)));
    put_double(out, 6, histogram.zero_threshold);
    put_double(out, 8, histogram.zero_count);
    for (span_field, count_field, buckets) in [(9, 11, &histogram.negative), (12, 14, &histogram.positive)] {
        for span in &buckets.spans {
            let mut message = Vec::new();
            put_unsigned(&mut message, 1, zigzag(i64::from(span.offset)));
            put_unsigned(&mut message, 2, u64::from(span.length));
            put_bytes(out, span_field, &message);
        }
        put_doubles(out, count_field, &buckets.counts);
    }
    if histogram.positive.spans.is_empty() && histogram.negative.spans.is_empty() {
        // A span of nothing: it is a native one all the same.
        put_bytes(out, 12, &[]);
    }
}

/// The classic buckets of a histogram with bounds of its own: upper bounds with the observations up to them.
pub(crate) fn cumulative(histogram: &Histogram) -> Vec<(f64, f64)> {
    let mut counts = histogram.positive.indexed().peekable();
    let mut below = 0.0;
    let bounds = histogram.custom_bounds.iter().copied().chain([f64::INFINITY]).zip(0..);
    let buckets = bounds.map(|(until, index)| {
        while let Some((_, count)) = counts.next_if(|(at, _)| *at <= index) {
            below += count;
        }
        (until, below)
    });
    buckets.collect()
}

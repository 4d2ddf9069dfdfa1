//! Native histograms between their message (`prometheus.Histogram`, the same in both versions of remote write and in
//! remote read) and their type. Counts may be integers, then buckets are differences to their neighbours.

use opendata_tsdb::{Buckets, CounterReset, Histogram};

use crate::proto::buckets::Side;
use crate::proto::{
    self, Malformed, Message, Value, put_bytes, put_double, put_doubles, put_unsigned, repeated_doubles, zigzag,
};

/// Reads a histogram: its time and since when it counts (0 if it does not say), in milliseconds, and itself. Whether it is a sound one is for its `validate` to say.
#[expect(clippy::cast_precision_loss, reason = "counts are floats from here on, as the specification allows")]
pub(in crate::http::prometheus) fn decode(bytes: &[u8]) -> Result<(i64, i64, Histogram), Malformed> {
    let mut message = Message::new(bytes);
    let (mut at, mut start, mut histogram) = (0, 0, Histogram::default());
    let (mut negative, mut positive, mut bounds) = (Side::default(), Side::default(), Vec::new());
    while let Some((number, value)) = message.next()? {
        match number {
            1 => histogram.count = value.unsigned()? as f64,
            2 => histogram.count = value.double()?,
            3 => histogram.sum = value.double()?,
            4 => histogram.schema = value.small(Value::zigzag)?,
            5 => histogram.zero_threshold = value.double()?,
            6 => histogram.zero_count = value.unsigned()? as f64,
            7 => histogram.zero_count = value.double()?,
            8 => negative.span(value)?,
            9 => negative.deltas(value)?,
            10 => negative.counts(value)?,
            11 => positive.span(value)?,
            12 => positive.deltas(value)?,
            13 => positive.counts(value)?,
            14 => {
                histogram.counter_reset = match value.unsigned()? {
                    1 => CounterReset::Reset,
                    2 => CounterReset::NotReset,
                    3 => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                }
            }
            15 => at = value.signed()?,
            16 => repeated_doubles(value, &mut bounds)?,
            17 => start = value.signed()?,
            _ => {}
        }
    }
    histogram.negative = negative.buckets();
    histogram.positive = positive.buckets();
    histogram.custom_bounds = bounds.into();
    Ok((at, start, histogram))
}

/// Writes a histogram with float counts.
pub(in crate::http::prometheus) fn encode(at_ms: i64, histogram: &Histogram) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    // Zero is written as well: which of the alternatives is there tells floats from integers.
    proto::put_double_always(&mut out, 2, histogram.count);
    put_double(&mut out, 3, histogram.sum);
    put_unsigned(&mut out, 4, zigzag(i64::from(histogram.schema)));
    put_double(&mut out, 5, histogram.zero_threshold);
    proto::put_double_always(&mut out, 7, histogram.zero_count);
    spans(&mut out, 8, &histogram.negative);
    put_doubles(&mut out, 10, &histogram.negative.counts);
    spans(&mut out, 11, &histogram.positive);
    put_doubles(&mut out, 13, &histogram.positive.counts);
    let hint = match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    put_unsigned(&mut out, 14, hint);
    put_unsigned(&mut out, 15, at_ms.cast_unsigned());
    put_doubles(&mut out, 16, &histogram.custom_bounds);
    out
}

fn spans(out: &mut Vec<u8>, number: u32, buckets: &Buckets) {
    for span in &buckets.spans {
        let mut message = Vec::with_capacity(8);
        put_unsigned(&mut message, 1, zigzag(i64::from(span.offset)));
        put_unsigned(&mut message, 2, u64::from(span.length));
        put_bytes(out, number, &message);
    }
}

#[cfg(test)]
mod tests;

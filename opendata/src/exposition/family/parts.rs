//! Histograms of the message, which may hold both kinds of buckets.

use opendata_tsdb::{Buckets, CounterReset, Histogram};

use crate::proto::buckets::Side;
use crate::proto::{Malformed, Message, Value};

/// A bucket of a classic histogram.
pub(super) struct ClassicBucket<'a> {
    pub(super) until: f64,
    pub(super) count: f64,
    pub(super) exemplar: Option<&'a [u8]>,
}

/// A histogram taken apart.
pub(super) struct Parts<'a> {
    /// The native one; count and sum are those of the classic one, too.
    pub(super) histogram: Histogram,
    pub(super) buckets: Vec<ClassicBucket<'a>>,
    /// Whether there are spans, if only one of nothing: that says that it is a native one.
    has_spans: bool,
}

/// A side's buckets, without the span of nothing that only says that the histogram is a native one.
fn stripped(side: Side) -> Buckets {
    let mut buckets = side.buckets();
    buckets.spans.retain(|span| span.length > 0 || span.offset != 0);
    buckets
}

impl<'a> Parts<'a> {
    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut histogram, mut buckets) = (Histogram::default(), Vec::new());
        let (mut negative, mut positive) = (Side::default(), Side::default());
        let (mut floats, mut zero_floats, mut has_spans) = (0.0, 0.0, false);
        let mut message = Message::new(bytes);
        while let Some((number, value)) = message.next()? {
            match number {
                1 => histogram.count = value.unsigned()? as f64,
                2 => histogram.sum = value.double()?,
                3 => buckets.push(ClassicBucket::read(value.bytes()?)?),
                4 => floats = value.double()?,
                5 => histogram.schema = value.small(Value::zigzag)?,
                6 => histogram.zero_threshold = value.double()?,
                7 => histogram.zero_count = value.unsigned()? as f64,
                8 => zero_floats = value.double()?,
                9 => negative.span(value)?,
                10 => negative.deltas(value)?,
                11 => negative.counts(value)?,
                12 => positive.span(value)?,
                13 => positive.deltas(value)?,
                14 => positive.counts(value)?,
                _ => {}
            }
            has_spans |= matches!(number, 9 | 12);
        }
        if floats > 0.0 {
            (histogram.count, histogram.zero_count) = (floats, zero_floats);
        }
        histogram.negative = stripped(negative);
        histogram.positive = stripped(positive);
        Ok(Self { histogram, buckets, has_spans })
    }

    pub(super) fn is_native(&self) -> bool {
        self.has_spans || self.histogram.zero_count > 0.0 || self.histogram.zero_threshold > 0.0
    }

    pub(super) fn native(&self, is_gauge: bool) -> Histogram {
        let counter_reset = if is_gauge { CounterReset::Gauge } else { CounterReset::Unknown };
        Histogram { counter_reset, ..self.histogram.clone() }
    }
}

impl<'a> ClassicBucket<'a> {
    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut bucket = Self { until: 0.0, count: 0.0, exemplar: None };
        let mut message = Message::new(bytes);
        while let Some((number, value)) = message.next()? {
            match number {
                1 => bucket.count = value.unsigned()? as f64,
                2 => bucket.until = value.double()?,
                3 => bucket.exemplar = Some(value.bytes()?),
                4 => bucket.count = value.double()?,
                _ => {}
            }
        }
        Ok(bucket)
    }
}

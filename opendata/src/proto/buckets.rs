//! The buckets of one side of a native histogram, which the messages of remote write and of scraping write alike: spans, and
//! counts that are either floats or integers as differences to their neighbours.

use opendata_tsdb::{Buckets, Span};

use super::{Malformed, Message, Value, repeated, repeated_doubles, unzigzag};

/// One side, as its fields are read.
#[derive(Default)]
pub(crate) struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    /// Reads a field of spans.
    pub(crate) fn span(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let mut message = Message::new(value.bytes()?);
        let mut span = Span::default();
        while let Some((number, value)) = message.next()? {
            match number {
                1 => span.offset = value.small(Value::zigzag)?,
                2 => span.length = value.small(Value::signed)?,
                _ => {}
            }
        }
        self.spans.push(span);
        Ok(())
    }

    /// Reads a field of differences.
    pub(crate) fn deltas(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        repeated(value, |delta| self.deltas.push(unzigzag(delta)))
    }

    /// Reads a field of floats.
    pub(crate) fn counts(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        repeated_doubles(value, &mut self.counts)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are floats from here on, as the specification allows")]
    pub(crate) fn buckets(self) -> Buckets {
        let summed = self.deltas.iter().scan(0_i64, |count, delta| {
            *count = count.saturating_add(*delta);
            Some(*count as f64)
        });
        let counts = if self.counts.is_empty() { summed.collect() } else { self.counts };
        Buckets { spans: self.spans, counts }
    }
}

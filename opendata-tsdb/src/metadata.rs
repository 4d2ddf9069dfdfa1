//! Metadata of metrics: what they are, in which unit, and in words. One for a metric's name; the last one written wins.
//!
//! `METADATA`, one row a metric:
//! ```text
//! layout 1 · kind u8 · unit bytes · help bytes
//! ```
//! Kinds: 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

const LAYOUT: u8 = 1;

/// The most bytes that a name, unit and help text may take together.
pub(crate) const METADATA_BYTES: usize = 16 * 1024;

/// What a metric is, in the words of OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It only grows, or begins anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution that only grows.
    Histogram,
    /// A distribution of the moment.
    GaugeHistogram,
    /// Quantiles that the client computed.
    Summary,
    /// Text in labels, with the value one.
    Info,
    /// One of several states.
    StateSet,
}

impl MetricKind {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Unknown, "unknown"),
        (Self::Counter, "counter"),
        (Self::Gauge, "gauge"),
        (Self::Histogram, "histogram"),
        (Self::GaugeHistogram, "gaugehistogram"),
        (Self::Summary, "summary"),
        (Self::Info, "info"),
        (Self::StateSet, "stateset"),
    ];

    /// Its name in OpenMetrics: `gaugehistogram`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("unknown", |(_, name)| name)
    }

    /// The kind of a name; none if there is no such kind.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == name).map(|(kind, _)| *kind)
    }
}

impl std::fmt::Display for MetricKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// What it is.
    pub kind: MetricKind,
    /// Its unit, such as `seconds`; empty if it has none.
    pub unit: String,
    /// What it means.
    pub help: String,
}

impl Metadata {
    pub(crate) fn size_bytes(&self) -> usize {
        self.unit.len() + self.help.len()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let kind = MetricKind::ALL.iter().zip(0u8..).find(|((kind, _), _)| *kind == self.kind);
        let mut value = Encoder::with_capacity(LAYOUT, 8 + self.size_bytes());
        value.u8(kind.map_or(0, |(_, code)| code)).bytes(self.unit.as_bytes()).bytes(self.help.as_bytes());
        value.finish()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// `Corrupt` if the value cannot be read.
    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let kind = MetricKind::ALL.get(usize::from(fields.u8()?)).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| Error::corrupt("unknown kind of metric"))?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| Error::corrupt("metadata of a metric is not UTF-8"))
        };
        let metadata = Self { kind, unit: text(fields.bytes()?)?, help: text(fields.bytes()?)? };
        fields.finish()?;
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests;

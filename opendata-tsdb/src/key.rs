//! The keys of the TSDB, behind core's prefix.
//!
//! ```text
//! control segment
//!   0x10 SLAB      bucket segment u32 · slab u64           samples as committed, not sealed yet
//!   0x11 BUCKET    bucket segment u32                      there is such a bucket
//!   0x12 SEALING   bucket segment u32                      how far the sealing of a bucket has come
//!   0x13 LIVE                                              the first bucket that retention has left
//!   0x14 TOTAL     (name, value terminated)*               the newest bucket with adds to this series
//!   0x15 SAMPLED   metric name raw                         series of this metric were created by samples, not adds
//!   0x16 METADATA  metric name raw                         what a metric is
//!   0x17 DELETION  bucket segment u32 · slab u64           samples deleted that chunks may still hold
//!   0x18 DUE       bucket segment u32                      the series whose rollups are to be made
//!   0x19 ROLLED    segment u32                             there is such a segment of rollups
//!   0x1a - 0x1f    reserved: rules
//! a bucket's segment
//!   0x20 FORWARD   block u32                               labels of 128 series
//!   0x21 POSTING   name terminated · value raw             the series with this label
//!   0x22 NAME      name raw                                there is such a label name; sketch of its values
//!   0x23 DATA      metric u32 · window u8 · series u32     chunks
//!   0x24 EXEMPLAR  series u32                              single observations behind a series
//!   0x25 SOURCE    source raw                              the series that a source created
//!   0x27 - 0x2f    reserved: symbols
//! a segment of rollups, where FORWARD, POSTING and NAME stand too
//!   0x26 ROLLUP    resolution u8 · metric u32 · bucket u8 · series u32   points of one series in one bucket
//! ```
//! In `DATA` a metric is named by the first series of the bucket that has its name, so that there is one allocator of
//! ids and not two; one metric of a recent window, many series, is one contiguous scan. Slabs stand in the control
//! segment: ingest then touches one segment whatever times it carries, and opening is one scan.

use bytes::Bytes;
use opendata_core::key::{KeyRange, KeyReader, Prefix, SegmentId, Tag};
use opendata_core::{Error, Result};

use crate::labels::Labels;
use crate::rollup::Resolution;

/// Samples as committed.
pub(crate) const SLAB: Tag = Tag(0x10);
/// There is such a bucket.
pub(crate) const BUCKET: Tag = Tag(0x11);
/// How far sealing has come.
pub(crate) const SEALING: Tag = Tag(0x12);
/// The first bucket that is left.
pub(crate) const LIVE: Tag = Tag(0x13);
/// The newest bucket with adds to a series.
pub(crate) const TOTAL: Tag = Tag(0x14);
/// Series of this metric were created by samples.
pub(crate) const SAMPLED: Tag = Tag(0x15);
/// What a metric is.
pub(crate) const METADATA: Tag = Tag(0x16);
/// Deleted samples.
pub(crate) const DELETION: Tag = Tag(0x17);
/// Series whose rollups are to be made.
pub(crate) const DUE: Tag = Tag(0x18);
/// A segment of rollups.
pub(crate) const ROLLED: Tag = Tag(0x19);
/// Labels of a block of series.
pub(crate) const FORWARD: Tag = Tag(0x20);
/// The series with a label.
pub(crate) const POSTING: Tag = Tag(0x21);
/// A label name.
pub(crate) const NAME: Tag = Tag(0x22);
/// Chunks.
pub(crate) const DATA: Tag = Tag(0x23);
/// Exemplars.
pub(crate) const EXEMPLAR: Tag = Tag(0x24);
/// The series that a source created.
pub(crate) const SOURCE: Tag = Tag(0x25);
/// Points of a rollup.
pub(crate) const ROLLUP: Tag = Tag(0x26);

/// How many series share a `FORWARD` row.
pub(crate) const BLOCK_SERIES: u32 = 128;

/// The keys of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys(Prefix);

impl Keys {
    /// From a prefix of the instance, of whichever segment.
    pub(crate) fn new(prefix: Prefix) -> Self {
        Self(prefix)
    }

    fn control(self) -> Prefix {
        self.0.in_segment(SegmentId::CONTROL)
    }

    pub(crate) fn slab(self, bucket: SegmentId, slab: u64) -> Bytes {
        self.control().key(SLAB).u32(bucket.0).u64(slab).build()
    }

    pub(crate) fn slabs(self) -> KeyRange {
        self.control().key(SLAB).range()
    }

    pub(crate) fn slabs_of(self, bucket: SegmentId) -> KeyRange {
        self.control().key(SLAB).u32(bucket.0).range()
    }

    pub(crate) fn bucket(self, bucket: SegmentId) -> Bytes {
        self.control().key(BUCKET).u32(bucket.0).build()
    }

    pub(crate) fn buckets(self) -> KeyRange {
        self.control().key(BUCKET).range()
    }

    pub(crate) fn sealing(self, bucket: SegmentId) -> Bytes {
        self.control().key(SEALING).u32(bucket.0).build()
    }

    pub(crate) fn sealings(self) -> KeyRange {
        self.control().key(SEALING).range()
    }

    pub(crate) fn live(self) -> Bytes {
        self.control().key(LIVE).build()
    }

    pub(crate) fn total(self, labels: &Labels) -> Bytes {
        let key = self.control().key(TOTAL);
        let fields = labels.iter().flat_map(|label| [label.name(), label.value()]);
        fields.fold(key, |key, field| key.terminated(field.as_bytes())).build()
    }

    pub(crate) fn totals(self) -> KeyRange {
        self.control().key(TOTAL).range()
    }

    pub(crate) fn sampled(self, metric: &str) -> Bytes {
        self.control().key(SAMPLED).raw(metric.as_bytes()).build()
    }

    pub(crate) fn all_sampled(self) -> KeyRange {
        self.control().key(SAMPLED).range()
    }

    pub(crate) fn metadata(self, metric: &str) -> Bytes {
        self.control().key(METADATA).raw(metric.as_bytes()).build()
    }

    pub(crate) fn all_metadata(self) -> KeyRange {
        self.control().key(METADATA).range()
    }

    pub(crate) fn deletion(self, bucket: SegmentId, slab: u64) -> Bytes {
        self.control().key(DELETION).u32(bucket.0).u64(slab).build()
    }

    pub(crate) fn deletions(self) -> KeyRange {
        self.control().key(DELETION).range()
    }

    pub(crate) fn due(self, bucket: SegmentId) -> Bytes {
        self.control().key(DUE).u32(bucket.0).build()
    }

    pub(crate) fn all_due(self) -> KeyRange {
        self.control().key(DUE).range()
    }

    pub(crate) fn rolled(self, segment: SegmentId) -> Bytes {
        self.control().key(ROLLED).u32(segment.0).build()
    }

    pub(crate) fn all_rolled(self) -> KeyRange {
        self.control().key(ROLLED).range()
    }

    pub(crate) fn rollup(
        self,
        segment: SegmentId,
        resolution: Resolution,
        metric: u32,
        bucket: u8,
        series: u32,
    ) -> Bytes {
        let key = self.0.in_segment(segment).key(ROLLUP).u8(resolution.code()).u32(metric);
        key.u8(bucket).u32(series).build()
    }

    pub(crate) fn rollups(self, segment: SegmentId, resolution: Resolution) -> KeyRange {
        self.0.in_segment(segment).key(ROLLUP).u8(resolution.code()).range()
    }

    pub(crate) fn all_rollups(self, segment: SegmentId) -> KeyRange {
        self.0.in_segment(segment).key(ROLLUP).range()
    }

    /// The rollups of one metric, from bucket to bucket of a segment.
    pub(crate) fn rollups_of(
        self,
        segment: SegmentId,
        resolution: Resolution,
        metric: u32,
        from: u8,
        to: u8,
    ) -> KeyRange {
        let mut range = self.rollups(segment, resolution);
        range.start = std::ops::Bound::Included(self.rollup(segment, resolution, metric, from, 0));
        range.end = std::ops::Bound::Included(self.rollup(segment, resolution, metric, to, u32::MAX));
        range
    }

    /// Everything in a segment.
    pub(crate) fn all_in(self, segment: SegmentId) -> KeyRange {
        self.0.in_segment(segment).range()
    }

    pub(crate) fn exemplar(self, bucket: SegmentId, series: u32) -> Bytes {
        self.0.in_segment(bucket).key(EXEMPLAR).u32(series).build()
    }

    pub(crate) fn exemplars(self, bucket: SegmentId) -> KeyRange {
        self.0.in_segment(bucket).key(EXEMPLAR).range()
    }

    pub(crate) fn source(self, bucket: SegmentId, source: &str) -> Bytes {
        self.0.in_segment(bucket).key(SOURCE).raw(source.as_bytes()).build()
    }

    pub(crate) fn sources(self, bucket: SegmentId) -> KeyRange {
        self.0.in_segment(bucket).key(SOURCE).range()
    }

    pub(crate) fn forward(self, bucket: SegmentId, block: u32) -> Bytes {
        self.0.in_segment(bucket).key(FORWARD).u32(block).build()
    }

    pub(crate) fn forwards(self, bucket: SegmentId) -> KeyRange {
        self.0.in_segment(bucket).key(FORWARD).range()
    }

    pub(crate) fn posting(self, bucket: SegmentId, name: &str, value: &str) -> Bytes {
        self.0.in_segment(bucket).key(POSTING).terminated(name.as_bytes()).raw(value.as_bytes()).build()
    }

    /// The postings of all values of a label that begin with `prefix`.
    pub(crate) fn postings(self, bucket: SegmentId, name: &str, prefix: &str) -> KeyRange {
        self.0.in_segment(bucket).key(POSTING).terminated(name.as_bytes()).raw(prefix.as_bytes()).range()
    }

    /// The postings of all labels.
    pub(crate) fn all_postings(self, bucket: SegmentId) -> KeyRange {
        self.0.in_segment(bucket).key(POSTING).range()
    }

    pub(crate) fn name(self, bucket: SegmentId, name: &str) -> Bytes {
        self.0.in_segment(bucket).key(NAME).raw(name.as_bytes()).build()
    }

    pub(crate) fn names(self, bucket: SegmentId) -> KeyRange {
        self.0.in_segment(bucket).key(NAME).range()
    }

    pub(crate) fn data(self, bucket: SegmentId, metric: u32, window: u8, series: u32) -> Bytes {
        self.0.in_segment(bucket).key(DATA).u32(metric).u8(window).u32(series).build()
    }

    /// The chunks of the series `first ..= last` of one metric and window.
    pub(crate) fn data_range(self, bucket: SegmentId, metric: u32, window: u8, first: u32, last: u32) -> KeyRange {
        let mut range = self.0.in_segment(bucket).key(DATA).u32(metric).u8(window).range();
        range.start = std::ops::Bound::Included(self.data(bucket, metric, window, first));
        range.end = std::ops::Bound::Included(self.data(bucket, metric, window, last));
        range
    }
}

/// A key, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Slab { bucket: SegmentId, slab: u64 },
    Bucket { bucket: SegmentId },
    Sealing { bucket: SegmentId },
    Live,
    Total { labels: Labels },
    Sampled { metric: String },
    Metadata { metric: String },
    Deletion { bucket: SegmentId, slab: u64 },
    Due { bucket: SegmentId },
    Rolled { segment: SegmentId },
    Rollup { segment: SegmentId, resolution: Resolution, metric: u32, bucket: u8, series: u32 },
    Forward { bucket: SegmentId, block: u32 },
    Posting { bucket: SegmentId, name: String, value: String },
    Name { bucket: SegmentId, name: String },
    Data { bucket: SegmentId, metric: u32, window: u8, series: u32 },
    Exemplar { bucket: SegmentId, series: u32 },
    Source { bucket: SegmentId, source: String },
}

impl Key {
    /// Reads a whole key of this system.
    ///
    /// # Errors
    /// `Corrupt` if it is none.
    pub(crate) fn decode(key: &[u8]) -> Result<Self> {
        let (prefix, tag, mut fields) = KeyReader::new(key)?;
        let bucket = prefix.segment;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| Error::corrupt_at(key, "label is not UTF-8"));
        let decoded = match (tag, bucket == SegmentId::CONTROL) {
            (SLAB, true) => Self::Slab { bucket: SegmentId(fields.u32()?), slab: fields.u64()? },
            (BUCKET, true) => Self::Bucket { bucket: SegmentId(fields.u32()?) },
            (SEALING, true) => Self::Sealing { bucket: SegmentId(fields.u32()?) },
            (LIVE, true) => Self::Live,
            (TOTAL, true) => {
                let mut pairs = Vec::new();
                while !fields.rest().is_empty() {
                    pairs.push((text(fields.terminated()?)?, text(fields.terminated()?)?));
                }
                Self::Total { labels: Labels::new(pairs)? }
            }
            (SAMPLED, true) => return Ok(Self::Sampled { metric: text(fields.rest().to_vec())? }),
            (METADATA, true) => return Ok(Self::Metadata { metric: text(fields.rest().to_vec())? }),
            (DELETION, true) => Self::Deletion { bucket: SegmentId(fields.u32()?), slab: fields.u64()? },
            (DUE, true) => Self::Due { bucket: SegmentId(fields.u32()?) },
            (ROLLED, true) => Self::Rolled { segment: SegmentId(fields.u32()?) },
            (ROLLUP, false) => {
                let resolution = Resolution::from_code(fields.u8()?);
                let resolution = resolution.ok_or_else(|| Error::corrupt_at(key, "unknown resolution of a rollup"))?;
                let (metric, place, series) = (fields.u32()?, fields.u8()?, fields.u32()?);
                Self::Rollup { segment: bucket, resolution, metric, bucket: place, series }
            }
            (FORWARD, false) => Self::Forward { bucket, block: fields.u32()? },
            (POSTING, false) => {
                let name = text(fields.terminated()?)?;
                return Ok(Self::Posting { bucket, name, value: text(fields.rest().to_vec())? });
            }
            (NAME, false) => return Ok(Self::Name { bucket, name: text(fields.rest().to_vec())? }),
            (DATA, false) => Self::Data { bucket, metric: fields.u32()?, window: fields.u8()?, series: fields.u32()? },
            (EXEMPLAR, false) => Self::Exemplar { bucket, series: fields.u32()? },
            (SOURCE, false) => return Ok(Self::Source { bucket, source: text(fields.rest().to_vec())? }),
            _ => return Err(Error::corrupt_at(key, format_args!("unknown record, tag={:#04x}", tag.0))),
        };
        fields.finish()?;
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests;

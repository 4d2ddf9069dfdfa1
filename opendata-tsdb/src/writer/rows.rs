//! The index rows of a group: what is new in a bucket, gathered into one merge operand for each row it touches.

use std::collections::BTreeMap;

use opendata_core::key::SegmentId;
use opendata_core::slate::ApplyContext;
use roaring::RoaringBitmap;

use crate::dictionary::Bucket;
use crate::key::{BLOCK_SERIES, Keys};
use crate::record::name::Sketch;
use crate::record::{forward, posting};

/// Writes the index of the series that are fresh in a bucket.
pub(super) fn write_index(keys: Keys, segment: SegmentId, bucket: &Bucket, cx: &mut ApplyContext<'_>) {
    let first = bucket.series.len();
    let mut postings: BTreeMap<(&str, &str), RoaringBitmap> = BTreeMap::new();
    for (id, entry) in (first..).zip(&bucket.fresh) {
        for label in &entry.labels {
            postings.entry((label.name(), label.value())).or_default().insert(id);
        }
    }
    let mut names: BTreeMap<&str, Sketch> = BTreeMap::new();
    for ((name, value), ids) in &postings {
        names.entry(name).or_default().insert(value);
        cx.merge(keys.posting(segment, name, value), posting::encode(ids));
    }
    for (name, sketch) in &names {
        cx.merge(keys.name(segment, name), sketch.encode());
    }
    for (source, ids) in &bucket.fresh_of {
        cx.merge(keys.source(segment, source), posting::encode(ids));
    }
    let fresh: Vec<_> = (first..).zip(&bucket.fresh).collect();
    for block in fresh.chunk_by(|(a, _), (b, _)| a / BLOCK_SERIES == b / BLOCK_SERIES) {
        if let Some((id, _)) = block.first() {
            cx.merge(keys.forward(segment, id / BLOCK_SERIES), forward::encode(block.iter().copied()));
        }
    }
}

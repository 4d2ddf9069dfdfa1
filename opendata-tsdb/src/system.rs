//! The TSDB as a system that lives in a slate.

use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::{SegmentId, SystemId};
use opendata_core::slate::InstanceView;
use opendata_core::{DataSystem, Error, Result};

use crate::chunk::{self, Statistics};
use crate::config::Config;
use crate::exemplar;
use crate::index::{Index, at};
use crate::key::{Key, Keys};
use crate::maintain;
use crate::metadata::Metadata;
use crate::op::Op;
use crate::reader::Reader;
use crate::record::deletion::Deletion;
use crate::record::name::{self, Sketch};
use crate::record::{self, Bucket, Sealing, forward, posting, slab};
use crate::rollup;
use crate::writer::Writer;

/// The time series database: series of samples in Prometheus's model, queried with PromQL.
#[derive(Clone, Copy, Debug)]
pub struct Tsdb;

impl DataSystem for Tsdb {
    const ID: SystemId = SystemId::TSDB;
    const NAME: &'static str = "tsdb";
    const VERSION: u8 = 1;

    type Config = Config;
    type Writer = Writer;
    type Reader = Reader;

    fn validate(config: &Config) -> Result<()> {
        config.validate()
    }

    fn reconfigure(old: &Config, new: &Config) -> Result<()> {
        Config::reconfigure(old, new)
    }

    async fn recover(view: InstanceView<Self>, env: Env) -> Result<Writer> {
        Writer::recover(&view, env).await
    }

    fn reader(view: InstanceView<Self>) -> Reader {
        Reader::new(view)
    }

    fn merge(key: &[u8], existing: Option<&[u8]>, operands: &[Bytes]) -> Result<Bytes> {
        let values = existing.into_iter().chain(operands.iter().map(AsRef::as_ref));
        let merged = match Key::decode(key)? {
            Key::Data { .. } => chunk::merge_rows(values),
            Key::Forward { block, .. } => forward::merge(block, values),
            Key::Posting { .. } | Key::Source { .. } => posting::merge(values),
            Key::Exemplar { .. } => exemplar::merge(values),
            Key::Name { .. } => name::merge(values),
            _ => Err(Error::corrupt("this record is never merged")),
        };
        merged.map_err(|error| at(key, error))
    }

    async fn maintain(view: InstanceView<Self>) -> Result<Option<Op>> {
        maintain::plan(view).await
    }

    async fn first_live_segment(view: InstanceView<Self>) -> Result<SegmentId> {
        Index { view: view.view().clone(), keys: Keys::new(view.prefix(SegmentId::CONTROL)) }.live().await
    }

    fn describe(key: &[u8], value: &[u8]) -> Result<String> {
        describe(Key::decode(key)?, value).map_err(|error| at(key, error))
    }
}

fn describe(key: Key, value: &[u8]) -> Result<String> {
    Ok(match key {
        Key::Slab { bucket, slab } => {
            let slab::Head { written_ms, count } = slab::decode_head(value)?;
            format!("slab {slab} of bucket {}: {count} samples, written at {written_ms} ms", bucket.0)
        }
        Key::Bucket { bucket } => {
            let Bucket { start_ms, length_ms } = Bucket::decode(value)?;
            format!("bucket {}: {length_ms} ms from {start_ms} ms on", bucket.0)
        }
        Key::Sealing { bucket } => {
            let Sealing { through, next_series } = Sealing::decode(value)?;
            format!("sealing of bucket {}: slabs up to {through}, next is series {next_series}", bucket.0)
        }
        Key::Live => format!("first live bucket: {}", record::decode_segment(value)?.0),
        Key::Total { labels } => format!("counter {labels}: stands in bucket {}", record::decode_segment(value)?.0),
        Key::Sampled { metric } => format!("metric {metric}: has series created by samples"),
        Key::Metadata { metric } => {
            let Metadata { kind, unit, help } = Metadata::decode(value)?;
            format!("metric {metric}: {kind}, unit {unit:?}, {help:?}")
        }
        Key::Deletion { bucket, slab } => {
            let Deletion { from_ms, to_ms, next_series, ids, .. } = Deletion::decode(slab, value)?;
            let (bucket, count) = (bucket.0, ids.len());
            format!(
                "deletion {slab} in bucket {bucket}: {count} series, {from_ms} to {to_ms} ms, next is {next_series}"
            )
        }
        Key::Due { bucket } => {
            format!("series of bucket {} whose rollups are to be made: {}", bucket.0, posting::decode(value)?.len())
        }
        Key::Rolled { segment } => format!("segment {} holds rollups", segment.0),
        Key::Rollup { segment, resolution, metric, bucket, series } => {
            let points = rollup::decode(value, resolution)?.len();
            let of = format!("series {series} of metric {metric}, segment {}, bucket {bucket}", segment.0);
            format!("rollup of {of}, every {} ms: {points} points", resolution.length_ms())
        }
        Key::Exemplar { bucket, series } => {
            let mut text = format!("exemplars of series {series}, bucket {}:", bucket.0);
            for one in exemplar::decode(value)? {
                text.push_str(&format!(" {} at {} ms {};", one.value, one.at.0, one.labels));
            }
            text
        }
        Key::Source { bucket, source } => {
            format!("series of bucket {} that {source} created: {}", bucket.0, posting::decode(value)?.len())
        }
        Key::Forward { bucket, block } => {
            let series = forward::decode(block, value)?;
            let mut text = format!("series of bucket {}, block {block}:", bucket.0);
            for (id, entry) in series {
                text.push_str(&format!(" {id}={}", entry.labels));
            }
            text
        }
        Key::Posting { bucket, name, value: of } => {
            let ids = posting::decode(value)?;
            format!("series of bucket {} with {name}={of:?}: {}", bucket.0, ids.len())
        }
        Key::Name { bucket, name } => {
            let values = Sketch::decode(value)?.estimate();
            format!("label {name} of bucket {}: about {values} values", bucket.0)
        }
        Key::Data { bucket, metric, window, series } => {
            let mut text = format!("series {series} of metric {metric}, bucket {}, window {window}:", bucket.0);
            for chunk in chunk::chunks(value)? {
                let chunk = chunk?;
                text.push_str(&format!(" {} samples from {} to {} ms", chunk.count, chunk.first_ms, chunk.last_ms));
                if let Some(Statistics { min, max, sum }) = chunk.statistics {
                    text.push_str(&format!(", min {min}, max {max}, sum {sum}"));
                }
                if chunk.has_histograms() {
                    text.push_str(", histograms");
                }
                if chunk.never_decreases() {
                    text.push_str(", never decreases");
                }
                text.push(';');
            }
            text
        }
    })
}

#[cfg(test)]
mod tests;

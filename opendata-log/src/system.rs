//! The log as a system that lives in a slate.

use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::{SegmentId, SystemId};
use opendata_core::slate::InstanceView;
use opendata_core::{DataSystem, Error, Result};

use crate::chunk::Chunk;
use crate::config::Config;
use crate::entry::Control;
use crate::key::{self, Key};
use crate::maintain;
use crate::op::Op;
use crate::reader::Reader;
use crate::record::{self, Cursor, Group, Page, ProducerState, Segment};
use crate::writer::Writer;

/// The log: streams of records, ordered by position.
#[derive(Debug)]
pub struct Log;

impl DataSystem for Log {
    const ID: SystemId = SystemId::LOG;
    const NAME: &'static str = "log";
    const VERSION: u8 = 1;

    type Config = Config;
    type Writer = Writer;
    type Reader = Reader;

    fn validate(config: &Config) -> Result<()> {
        config.validate()
    }

    fn reconfigure(_old: &Config, new: &Config) -> Result<()> {
        new.validate()
    }

    async fn recover(view: InstanceView<Self>, env: Env) -> Result<Writer> {
        Writer::recover(view, env).await
    }

    fn reader(view: InstanceView<Self>) -> Reader {
        Reader::new(view)
    }

    fn merge(key: &[u8], _existing: Option<&[u8]>, _operands: &[Bytes]) -> Result<Bytes> {
        Err(Error::corrupt_at(key, "a log writes no merge operands"))
    }

    fn filter_prefix_len(key: &[u8]) -> Option<usize> {
        key::filter_prefix_len(key)
    }

    async fn maintain(view: InstanceView<Self>) -> Result<Option<Op>> {
        maintain::plan(view).await
    }

    async fn first_live_segment(view: InstanceView<Self>) -> Result<SegmentId> {
        maintain::first_live_segment(view).await
    }

    fn describe(key: &[u8], value: &[u8]) -> Result<String> {
        let text = match Key::decode(key)? {
            Key::Chunk { segment, stream, last } => {
                let chunk = Chunk::decode(stream.clone(), last, Bytes::copy_from_slice(value))?;
                let packed = if chunk.is_compressed() { ", lz4" } else { "" };
                format!(
                    "chunk segment={} stream={} positions={}..={} records={} ordinal={} ingested={}{packed}",
                    segment.0,
                    stream.escape_ascii(),
                    chunk.first,
                    last,
                    chunk.count,
                    chunk.ordinal,
                    chunk.ingest_time
                )
            }
            Key::ControlChunk { segment, last } => {
                let chunk = Chunk::decode(Bytes::new(), last, Bytes::copy_from_slice(value))?;
                let mut records = Vec::new();
                chunk.read(chunk.first..chunk.last.next(), &mut records)?;
                let controls: Result<Vec<_>> = records.iter().map(|record| Control::decode(&record.payload)).collect();
                format!("control segment={} positions={}..={} {:?}", segment.0, chunk.first, last, controls?)
            }
            Key::Group { segment, last } => {
                format!("group segment={} {:?}", segment.0, Group::decode(last, key, value)?)
            }
            Key::Time { segment, ingest } => {
                format!("time segment={} {ingest} -> {}", segment.0, record::decode_position(key, value)?)
            }
            Key::Page { segment, first } => {
                let page = Page::decode(key, value)?;
                format!("page segment={} first={} streams={}", segment.0, first.escape_ascii(), page.streams.len())
            }
            Key::Segment(id) => format!("{:?}", Segment::decode(id, key, value)?),
            Key::StreamTrim(stream) => {
                format!("trim stream={} before={}", stream.escape_ascii(), record::decode_position(key, value)?)
            }
            Key::Trim => format!("trim before={}", record::decode_position(key, value)?),
            Key::Cursor(name) => format!("cursor {} {:?}", name.escape_ascii(), Cursor::decode(key, value)?),
            Key::Producer(id) => format!("producer {} {:?}", id.escape_ascii(), ProducerState::decode(key, value)?),
            Key::Unpruned(stream) => format!("to be pruned: stream={}", stream.escape_ascii()),
        };
        Ok(text)
    }
}

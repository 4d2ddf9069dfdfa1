//! Records of a log, as they are appended and as they are read.

use opendata_compose::log;
use opendata_core::slate::Order;
use opendata_core::{Error, Position, Result, Timestamp};
use opendata_log::{Control, ControlRecords, FollowFrom, FollowOptions, NewRecord, Record, ScanOptions, Start};
use serde::{Deserialize, Serialize};

use super::bytes::Text;
use crate::times;

/// A record to append: a line of JSON lines, or a part of a commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordIn {
    #[serde(default)]
    pub(crate) payload: Text,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, Text)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) schema_id: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(id: &u32) -> bool {
    *id == 0
}

impl From<RecordIn> for NewRecord {
    fn from(record: RecordIn) -> Self {
        let mut new = Self::new(record.payload.0);
        for (name, value) in &record.headers {
            new = new.header(name, &value.0);
        }
        if let Some(time) = record.event_time {
            new = new.event_time(time);
        }
        if record.schema_id != 0 {
            new = new.schema_id(record.schema_id);
        }
        new
    }
}

/// A record that was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordOut {
    pub(crate) position: Position,
    pub(crate) stream: Text,
    pub(crate) ingest_time: Timestamp,
    pub(crate) event_time: Timestamp,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) schema_id: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, Text)>,
    pub(crate) payload: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) control: Option<ControlOut>,
}

/// What a control record says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlOut {
    Barrier(Text),
    Watermark(Timestamp),
}

impl From<&Record> for RecordOut {
    fn from(record: &Record) -> Self {
        let control = record.control.as_ref().map(|control| match control {
            Control::Barrier(id) => ControlOut::Barrier(id.into()),
            Control::Watermark(time) => ControlOut::Watermark(*time),
        });
        let header = |(name, value): (&str, &[u8])| (name.to_owned(), Text(bytes::Bytes::copy_from_slice(value)));
        Self {
            position: record.position,
            stream: (&record.stream).into(),
            ingest_time: record.ingest_time,
            event_time: record.event_time,
            schema_id: record.schema_id,
            headers: record.headers.iter().map(header).collect(),
            payload: (&record.payload).into(),
            control,
        }
    }
}

impl RecordOut {
    /// What stands in the column of the payload.
    pub(crate) fn content(&self) -> String {
        match &self.control {
            Some(ControlOut::Barrier(id)) => format!("<barrier {}>", id.show()),
            Some(ControlOut::Watermark(time)) => format!("<watermark {}>", times::show(*time)),
            None if self.headers.is_empty() => self.payload.show(),
            None => {
                let headers = self.headers.iter().map(|(name, value)| format!("{name}={}", value.show()));
                format!("[{}] {}", headers.collect::<Vec<_>>().join(" "), self.payload.show())
            }
        }
    }
}

/// A page of records.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordPage {
    pub(crate) records: Vec<RecordOut>,
    /// Whether these were all there are at this view.
    pub(crate) complete: bool,
    /// Where to go on: the next page's `from` (with `reverse` its `until`). None when complete, and with
    /// `happened_since`, which cannot be joined with a position: read such answers as JSON lines, which need no pages.
    pub(crate) next: Option<Position>,
    /// The position that was read at.
    pub(crate) position: Position,
}

/// A page of streams.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamPage {
    pub(crate) streams: Vec<Text>,
    /// Ask for those behind this one to go on; none: that was all.
    pub(crate) next: Option<Text>,
}

/// Which streams to read, from where and how far: the options of scan and tail, on the command line and in a query.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    /// The streams whose names begin so; on the path of one stream it has no meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// From this position on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<u64>,
    /// From records ingested at this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// Only records that happened at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) happened_since: Option<String>,
    /// Up to this position, not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
    /// Newest first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reverse: bool,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// Barriers and watermarks too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) control: bool,
}

/// What to follow: the options of tail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TailSelection {
    /// The streams whose names begin so; on the path of one stream it has no meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// A position, `oldest`, or `tail` (the default): behind everything there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// Barriers and watermarks too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) control: bool,
}

impl TailSelection {
    /// As the log understands it.
    pub(crate) fn follow_options(&self, streams: log::Streams) -> Result<FollowOptions> {
        let from = match self.from.as_deref() {
            None | Some("tail") => FollowFrom::Tail,
            Some("oldest") => FollowFrom::Oldest,
            Some(text) => FollowFrom::Position(Position(
                text.parse()
                    .map_err(|_| Error::invalid(format!("from is a position, `oldest` or `tail`, from={text}")))?,
            )),
        };
        Ok(FollowOptions { streams, from, control: control(self.control) })
    }
}

fn control(shown: bool) -> ControlRecords {
    if shown { ControlRecords::Shown } else { ControlRecords::Hidden }
}

impl From<log::StreamPage> for StreamPage {
    fn from(page: log::StreamPage) -> Self {
        Self { streams: page.streams.iter().map(Into::into).collect(), next: page.next.as_ref().map(Into::into) }
    }
}

impl Selection {
    /// As the log understands it.
    pub(crate) fn scan_options(&self, streams: log::Streams) -> Result<ScanOptions> {
        let start = match (&self.from, &self.since, &self.happened_since) {
            (None, None, None) => Start::Oldest,
            (Some(position), None, None) => Start::Position(Position(*position)),
            (None, Some(time), None) => Start::Ingested(times::parse_time(time)?),
            (None, None, Some(time)) => Start::Happened(times::parse_time(time)?),
            _ => return Err(Error::invalid("only one of from, since and happened_since can be given")),
        };
        Ok(ScanOptions {
            streams,
            start,
            until: self.until.map(Position),
            order: if self.reverse { Order::Descending } else { Order::Ascending },
            max_records: self.limit,
            control: control(self.control),
            ..ScanOptions::default()
        })
    }
}

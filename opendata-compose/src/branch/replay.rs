//! What applications appended to another slate's logs, appended again: when main is rebased, or put back to a time.
//!
//! ```text
//! cursor `replay/<id of the other slate>` -> layout 1 | next position varint | records varint
//! ```

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::slate::View;
use opendata_core::{Position, Result, Timestamp};
use opendata_log::{Log, NewRecord, ScanOptions};

use crate::internal::InternalComposite;

const LAYOUT: u8 = 1;
const REPLAY_BATCH: u64 = 1_000;

/// Which records of a log are appended to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) after: Position,
    pub(crate) until: Timestamp,
    pub(crate) trimmed: Trimmed,
}

/// What to do where the log was trimmed behind the beginning of the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trimmed {
    /// Who trimmed it wanted those records gone.
    Passed,
    /// They are needed.
    Refused,
}

/// Appends to logs what applications appended to another slate's logs of the same names in a span. How far it has come is in the
/// same commits, so doing it again, also when the other slate has gone on, appends nothing twice and leaves nothing out. What edges appended they append
/// again. Returns how many records were appended, those of earlier times included.
pub(crate) async fn copy_logs(old: &View, new: &InternalComposite, instances: &[String], span: Span) -> Result<u64> {
    let mut copied = 0;
    for instance in instances {
        let sink = new.get::<Log>(instance)?;
        let log = old.get_reader::<Log>(instance)?;
        let from = match span.trimmed {
            Trimmed::Passed => span.after.next().max(log.trim_point().await?),
            Trimmed::Refused => span.after.next(),
        };
        let name = format!("replay/{}", old.slate_id());
        let mut cursor = new.view().cursor(instance, &name).await?.filter(|_| !planted!(RebaseCounts));
        let mut at = cursor.as_deref().map_or(Ok(Replay { next: from, records: 0 }), Replay::decode)?;
        let mut scan = log.scan_with(ScanOptions::default().within(at.next.max(from)..)).await?;
        let mut more = true;
        while more {
            let mut tx = new.begin();
            let op = tx.on(&sink);
            let mut taken = 0;
            while taken < REPLAY_BATCH && more {
                match scan.next().await? {
                    // The time of taking in never goes back along positions.
                    Some(record) if record.derived && record.ingest_time <= span.until => {}
                    Some(record) if record.ingest_time <= span.until => {
                        // Its own time stays; when and where it was taken in is new.
                        op.append_record(record.stream.clone(), NewRecord::copy_of(&record));
                        at.next = record.position.next();
                        taken += 1;
                    }
                    _ => more = false,
                }
            }
            if taken > 0 {
                at.records += taken;
                let next = at.encode();
                if planted!(RebaseCounts) {
                    tx.on(&sink).producer("replay", (at.records - 1) / REPLAY_BATCH);
                } else {
                    tx.move_cursor(&sink, &name, cursor.replace(next.clone()), next);
                }
                tx.commit().await?;
            }
        }
        copied += at.records;
    }
    Ok(copied)
}

/// How far what another slate's log holds was appended to a log.
#[derive(Debug)]
struct Replay {
    next: Position,
    records: u64,
}

impl Replay {
    fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.next.0).varint(self.records);
        value.finish()
    }

    fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let replay = Self { next: Position(fields.varint()?), records: fields.varint()? };
        fields.finish()?;
        Ok(replay)
    }
}

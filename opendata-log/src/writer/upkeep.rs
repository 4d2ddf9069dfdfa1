//! Background work on its way in: checked against what the writer knows now, then done.

use std::sync::Arc;

use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, PrepareContext};
use opendata_core::{Error, Result};

use super::Writer;
use crate::key;
use crate::maintain::{Expiry, Upkeep, is_due};
use crate::record::{ProducerState, Segment};
use crate::stats::add;

impl Writer {
    pub(super) async fn check_upkeep(&self, upkeep: &Upkeep, cx: &PrepareContext<'_>) -> Result<()> {
        let control = cx.prefix(SegmentId::CONTROL);
        let holds = match upkeep {
            Upkeep::List { segment, .. } => self.sealed.iter().any(|sealed| sealed.id == *segment && !sealed.listed),
            Upkeep::Expire { expiry, trims, producers } => {
                for stream in trims {
                    if self.trim_of(stream, cx).await? > expiry.trim {
                        return Err(changed());
                    }
                }
                for id in producers {
                    let key = key::producer(control, id);
                    let idle = i64::try_from(self.config.producer_idle_ms).unwrap_or(i64::MAX);
                    if let Some(value) = cx.get(&key).await?
                        && ProducerState::decode(&key, &value)?.seen_at.plus_ms(idle) >= expiry.now
                    {
                        return Err(changed());
                    }
                }
                Expiry::plan(&self.config, &self.layout(), &self.cursors, expiry.now).as_ref() == Some(expiry)
            }
            Upkeep::Roll { segment } => self
                .open
                .as_ref()
                .is_some_and(|open| open.segment.id == *segment && is_due(&self.config, &open.segment, cx.now())),
            Upkeep::Prune { stream, trim, chunks, .. } => {
                let first_live = self.sealed.first().or(self.open.as_ref().map(|open| &open.segment));
                let live = |id: SegmentId| first_live.is_some_and(|first| first.id <= id);
                self.trim_of(stream, cx).await? == *trim && chunks.iter().all(|(segment, _)| live(*segment))
            }
        };
        if holds { Ok(()) } else { Err(changed()) }
    }

    pub(super) fn apply_upkeep(&mut self, upkeep: Upkeep, cx: &mut ApplyContext<'_>) {
        let control = cx.prefix(SegmentId::CONTROL);
        match upkeep {
            Upkeep::List { segment, pages } => {
                let prefix = cx.prefix(segment);
                for (first, page) in pages {
                    cx.put(key::page(prefix, &first), page);
                }
                let sealed = Arc::make_mut(&mut self.sealed).iter_mut().find(|sealed| sealed.id == segment);
                if let Some(sealed) = sealed {
                    sealed.listed = true;
                    cx.put(key::segment(control, segment), sealed.encode());
                }
            }
            Upkeep::Expire { expiry, trims, producers } => {
                self.expire(&expiry, cx);
                for stream in trims {
                    cx.delete_visible(key::stream_trim(control, &stream));
                }
                add(&self.counters.producers_forgotten, producers.len() as u64);
                for id in producers {
                    cx.delete_visible(key::producer(control, &id));
                }
            }
            Upkeep::Roll { .. } => self.gathered.roll = true,
            Upkeep::Prune { stream, chunks, done, .. } => {
                add(&self.counters.chunks_pruned, chunks.len() as u64);
                for (segment, last) in chunks {
                    cx.delete(key::chunk(cx.prefix(segment), &stream, last));
                }
                if done {
                    cx.delete(key::unpruned(control, &stream));
                }
            }
        }
    }

    /// Forgets the segments in front. Their rows are dropped by the slate, files and all.
    fn expire(&mut self, expiry: &Expiry, cx: &mut ApplyContext<'_>) {
        let control = cx.prefix(SegmentId::CONTROL);
        let sealed = Arc::make_mut(&mut self.sealed);
        let live = sealed.partition_point(|segment| segment.id < expiry.first_kept);
        let dropped: Vec<Segment> = sealed.drain(..live).collect();
        for segment in &dropped {
            cx.delete(key::segment(control, segment.id));
        }
        add(&self.counters.segments_dropped, dropped.len() as u64);
        add(&self.counters.records_dropped, dropped.iter().map(Segment::records).sum());
        if expiry.overridden > 0 {
            add(&self.counters.holds_overridden, expiry.overridden);
            tracing::warn!(
                cursors = expiry.overridden,
                trim = expiry.trim.0,
                "retention went over cursors that held it"
            );
        }
        if expiry.trim > self.trim {
            self.set_trim(expiry.trim, cx);
        }
    }
}

fn changed() -> Error {
    Error::conflict("the log changed since this work was planned")
}

//! Background work: listing the streams of sealed segments, retention, and removing what trims left behind.
//!
//! Each piece is planned on a view and committed as an ordinary operation. The writer checks again what it
//! was planned on, so a plan that came too late is a `Conflict` and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::{Access, InstanceView, Order};
use opendata_core::{Position, Result, Timestamp};

use crate::config::Config;
use crate::key::{self, Key};
use crate::layout::{self, Layout};
use crate::op::Op;
use crate::record::{self, Cursor, Hold, Page, ProducerState, Segment};
use crate::system::Log;

/// Names on one page of a listing take about so many bytes.
const PAGE_BYTES: usize = 32 * 1024;
/// Rows that one operation removes at most.
const BATCH_ROWS: usize = 1000;

/// A piece of background work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upkeep {
    /// Write the sorted listing of a sealed segment: the first stream of each page, and the page.
    List { segment: SegmentId, pages: Vec<(Bytes, Bytes)> },
    /// Drop the segments in front, and with them trim points that say nothing any more and idle producers.
    Expire { expiry: Expiry, trims: Vec<Bytes>, producers: Vec<Bytes> },
    /// Close a segment that is old enough.
    Roll { segment: SegmentId },
    /// Remove chunks that lie below a stream's trim point. `done`: there are no more of them.
    Prune { stream: Bytes, trim: Position, chunks: Vec<(SegmentId, Position)>, done: bool },
}

impl Upkeep {
    pub(crate) fn size_bytes(&self) -> usize {
        let names = |names: &[Bytes]| names.iter().map(|name| name.len() + 64).sum::<usize>();
        64 + match self {
            Self::List { pages, .. } => pages.iter().map(|(first, page)| first.len() + page.len() + 64).sum(),
            Self::Expire { trims, producers, .. } => names(trims) + names(producers),
            Self::Roll { .. } => 0,
            Self::Prune { stream, chunks, .. } => chunks.len() * (stream.len() + 64),
        }
    }
}

/// Which segments retention lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// The first segment that stays.
    pub(crate) first_kept: SegmentId,
    /// Where it begins, which becomes the trim point.
    pub(crate) trim: Position,
    /// Cursors that held it back and were overridden.
    pub(crate) overridden: u64,
    /// The time it was planned for.
    pub(crate) now: Timestamp,
}

impl Expiry {
    /// What retention lets go at a time: sealed segments, oldest first, as far as age, size or trim allow
    /// it and no cursor holds them.
    pub(crate) fn plan(
        config: &Config,
        layout: &Layout,
        cursors: &BTreeMap<Bytes, Cursor>,
        now: Timestamp,
    ) -> Option<Self> {
        let held: BTreeSet<_> =
            cursors.values().filter(|cursor| cursor.hold == Hold::Yes).map(|cursor| cursor.position).collect();
        let mut bytes: u64 = layout.segments().map(Segment::size_bytes).sum();
        let mut first_kept = None;
        for (segment, next) in layout.segments().zip(layout.segments().skip(1)) {
            let trimmed = segment.last < layout.trim;
            let is_held = held.first().is_some_and(|position| *position <= segment.last);
            let over_limit = config.hold_limit_bytes.is_some_and(|limit| bytes > limit);
            let may_go =
                trimmed || is_old(config, segment, now) || config.retain_bytes.is_some_and(|limit| bytes > limit);
            if !segment.sealed || !may_go || (is_held && !trimmed && !over_limit) {
                break;
            }
            bytes -= segment.size_bytes();
            first_kept = Some(next);
        }
        let next = first_kept?;
        let newly = |position: &&Position| (layout.trim..next.first).contains(*position);
        let overridden = held.iter().filter(newly).count() as u64;
        Some(Self { first_kept: next.id, trim: next.first.max(layout.trim), overridden, now })
    }
}

fn is_old(config: &Config, segment: &Segment, now: Timestamp) -> bool {
    let age = now.0.saturating_sub(segment.ingest_times().1.0);
    config.retain_age_ms.is_some_and(|limit| u64::try_from(age).unwrap_or(0) > limit)
}

/// Whether an open segment should be closed because of its age.
pub(crate) fn is_due(config: &Config, segment: &Segment, now: Timestamp) -> bool {
    let age = now.0.saturating_sub(segment.created.0);
    !segment.is_empty() && config.segment_age_ms.is_some_and(|limit| u64::try_from(age).unwrap_or(0) >= limit)
}

/// Looks for the next piece of work.
pub(crate) async fn plan(view: InstanceView<Log>) -> Result<Option<Op>> {
    // Without the writer's state there is nobody to do the work.
    let Some(state) = view.state() else { return Ok(None) };
    let (now, layout) = (state.env.now(), state.layout.clone());
    let upkeep = match plan_expiry(&view, &layout, now).await? {
        Some(expiry) => Some(expiry),
        None => match plan_listing(&view, &layout).await? {
            Some(listing) => Some(listing),
            None => match plan_prune(&view, &layout).await? {
                Some(prune) => Some(prune),
                None => layout
                    .open
                    .filter(|open| is_due(view.config(), open, now))
                    .map(|open| Upkeep::Roll { segment: open.id }),
            },
        },
    };
    Ok(upkeep.map(Op::upkeep))
}

async fn plan_expiry(view: &InstanceView<Log>, layout: &Layout, now: Timestamp) -> Result<Option<Upkeep>> {
    let cursors = cursors(view).await?;
    let Some(expiry) = Expiry::plan(view.config(), layout, &cursors, now) else { return Ok(None) };
    let control = view.prefix(SegmentId::CONTROL);
    let mut trims = Vec::new();
    let mut rows = view.scan(key::stream_trims(control, b""), Access::Bulk).await?;
    while let Some(row) = rows.next().await? {
        if trims.len() == BATCH_ROWS {
            break;
        }
        let trim = record::decode_position(&row.key, &row.value)?;
        if let Key::StreamTrim(stream) = Key::decode(&row.key)?
            && trim <= expiry.trim
        {
            trims.push(stream);
        }
    }
    let mut producers = Vec::new();
    let idle = i64::try_from(view.config().producer_idle_ms).unwrap_or(i64::MAX);
    let mut rows = view.scan(key::producers(control), Access::Bulk).await?;
    while let Some(row) = rows.next().await? {
        if producers.len() == BATCH_ROWS {
            break;
        }
        let producer = ProducerState::decode(&row.key, &row.value)?;
        if let Key::Producer(id) = Key::decode(&row.key)?
            && producer.seen_at.plus_ms(idle) < now
        {
            producers.push(id);
        }
    }
    Ok(Some(Upkeep::Expire { expiry, trims, producers }))
}

/// All cursors, by name.
pub(crate) async fn cursors(view: &InstanceView<Log>) -> Result<BTreeMap<Bytes, Cursor>> {
    let mut cursors = BTreeMap::new();
    let mut rows = view.scan(key::cursors(view.prefix(SegmentId::CONTROL)), Access::Bulk).await?;
    while let Some(row) = rows.next().await? {
        if let Key::Cursor(name) = Key::decode(&row.key)? {
            cursors.insert(name, Cursor::decode(&row.key, &row.value)?);
        }
    }
    Ok(cursors)
}

async fn plan_listing(view: &InstanceView<Log>, layout: &Layout) -> Result<Option<Upkeep>> {
    let Some(segment) = layout.sealed.iter().find(|segment| !segment.listed) else { return Ok(None) };
    let mut streams = BTreeSet::new();
    let mut rows = view.scan(key::groups(view.prefix(segment.id), Position::ZERO), Access::Bulk).await?;
    while let Some(row) = rows.next().await? {
        streams.extend(layout::group(&row)?.new_streams);
    }
    let mut pages = Vec::new();
    let mut page: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    for stream in streams {
        bytes += stream.len() + 2;
        page.push(stream);
        if bytes >= PAGE_BYTES {
            pages.push(std::mem::take(&mut page));
            bytes = 0;
        }
    }
    pages.push(page);
    let pages = pages.into_iter().filter_map(|streams| {
        let first = streams.first()?.clone();
        Some((first, Page { streams }.encode()))
    });
    Ok(Some(Upkeep::List { segment: segment.id, pages: pages.collect() }))
}

async fn plan_prune(view: &InstanceView<Log>, layout: &Layout) -> Result<Option<Upkeep>> {
    let control = view.prefix(SegmentId::CONTROL);
    let mut marks = view.scan(key::all_unpruned(control), Access::Point).await?;
    let Some(mark) = marks.next().await? else { return Ok(None) };
    let Key::Unpruned(stream) = Key::decode(&mark.key)? else { return Ok(None) };
    let trim = layout::stream_trim(view.view(), control, &stream).await?;
    let mut chunks = Vec::new();
    for segment in layout.segments().take_while(|segment| segment.first < trim) {
        let prefix = key::stream_prefix(view.prefix(segment.id), &stream);
        let mut rows = view.scan_prefix(&prefix, &[], Access::Point, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            let chunk = layout::chunk(&row)?;
            if chunk.last >= trim {
                break;
            }
            if chunks.len() == BATCH_ROWS {
                return Ok(Some(Upkeep::Prune { stream, trim, chunks, done: false }));
            }
            chunks.push((segment.id, chunk.last));
        }
    }
    Ok(Some(Upkeep::Prune { stream, trim, chunks, done: true }))
}

/// The first data segment that is still alive.
pub(crate) async fn first_live_segment(view: InstanceView<Log>) -> Result<SegmentId> {
    let loaded;
    let layout = match view.state() {
        Some(state) => &state.layout,
        None => {
            loaded = Layout::load(view.view(), view.prefix(SegmentId::CONTROL)).await?;
            &loaded
        }
    };
    Ok(layout.segments().next().map_or(SegmentId::FIRST_DATA, |segment| segment.id))
}

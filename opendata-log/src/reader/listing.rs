//! Listing streams: the sorted pages of sealed segments, and the groups of those that have none yet.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use opendata_core::key::{KeyRange, SegmentId};
use opendata_core::slate::Access;
use opendata_core::{Position, Result};

use super::Reader;
use crate::key::{self, Key};
use crate::layout;
use crate::record::{self, Page, Segment};

/// Some streams, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPage {
    /// Their names.
    pub streams: Vec<Bytes>,
    /// Ask for those behind this one to go on; none: there are no more.
    pub next: Option<Bytes>,
}

impl Reader {
    /// Streams whose names begin with `prefix` and stand behind `after`, sorted, at most `limit` (and one at least).
    /// Streams are listed as long as any of their records are kept.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn streams(&self, prefix: impl AsRef<[u8]>, after: Option<&[u8]>, limit: usize) -> Result<StreamPage> {
        let (prefix, limit) = (prefix.as_ref(), limit.max(1));
        let layout = self.layout().await?;
        let trims = self.stream_trims(prefix).await?;
        let mut after = after.map(Bytes::copy_from_slice);
        let mut page = StreamPage::default();
        loop {
            // One more than asked for tells whether there are more.
            let wanted = limit.saturating_add(1) - page.streams.len();
            let mut found = BTreeSet::new();
            for segment in layout.segments().filter(|segment| segment.last >= layout.trim && !segment.is_empty()) {
                self.list_segment(segment, prefix, after.as_deref(), wanted, &mut found).await?;
            }
            let exhausted = found.len() < wanted;
            after = found.last().cloned();
            for stream in found {
                if self.is_kept(&stream, layout.trim, &trims).await? {
                    page.streams.push(stream);
                }
            }
            if page.streams.len() > limit {
                page.streams.truncate(limit);
                page.next = page.streams.last().cloned();
                return Ok(page);
            }
            if exhausted {
                return Ok(page);
            }
        }
    }

    /// Whether a listed stream still has records: only a look for those that were trimmed, or whose segment was.
    async fn is_kept(&self, stream: &Bytes, trim: Position, trims: &BTreeMap<Bytes, Position>) -> Result<bool> {
        let own = trims.get(stream).copied().unwrap_or_default();
        let first = self.layout().await?.segments().next().map_or(Position::ZERO, |segment| segment.first);
        if own.max(trim) <= first {
            return Ok(true);
        }
        Ok(self.head(stream).await?.is_some())
    }

    pub(super) async fn stream_trims(&self, prefix: &[u8]) -> Result<BTreeMap<Bytes, Position>> {
        let range = key::stream_trims(self.view.prefix(SegmentId::CONTROL), prefix);
        let mut rows = self.view.scan(range, Access::Point).await?;
        let mut trims = BTreeMap::new();
        while let Some(row) = rows.next().await? {
            if let Key::StreamTrim(stream) = Key::decode(&row.key)? {
                trims.insert(stream, record::decode_position(&row.key, &row.value)?);
            }
        }
        Ok(trims)
    }

    /// Adds the streams of one segment, and keeps the first `wanted` of all.
    async fn list_segment(
        &self,
        segment: &Segment,
        prefix: &[u8],
        after: Option<&[u8]>,
        wanted: usize,
        found: &mut BTreeSet<Bytes>,
    ) -> Result<()> {
        let in_range = |name: &[u8]| name.starts_with(prefix) && after.is_none_or(|after| name > after);
        let mut add = |name: Bytes| {
            let fits = found.len() < wanted || found.last().is_some_and(|last| name < *last);
            if fits && found.insert(name) && found.len() > wanted {
                found.pop_last();
            }
            fits
        };
        if !segment.listed {
            let range = key::groups(self.view.prefix(segment.id), Position::ZERO);
            let mut rows = self.view.scan(range, Access::Bulk).await?;
            while let Some(row) = rows.next().await? {
                for name in layout::group(&row)?.new_streams.into_iter().filter(|name| in_range(name)) {
                    add(name);
                }
            }
            return Ok(());
        }
        let from = after.map_or(prefix, |after| after.max(prefix));
        let mut rows = self.view.scan(self.pages_from(segment, from).await?, Access::Point).await?;
        while let Some(row) = rows.next().await? {
            for name in Page::decode(&row.key, &row.value)?.streams {
                if name.as_ref() > from && !name.starts_with(prefix) {
                    return Ok(());
                }
                if in_range(&name) && !add(name) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Pages from the one that can hold `from` on.
    async fn pages_from(&self, segment: &Segment, from: &[u8]) -> Result<KeyRange> {
        let prefix = self.view.prefix(segment.id);
        let all = key::pages(prefix);
        let up_to = KeyRange { start: all.start.clone(), end: std::ops::Bound::Included(key::page(prefix, from)) };
        let mut rows = self.view.scan_backwards(up_to, Access::Point).await?;
        Ok(match rows.next().await? {
            Some(row) => all.starting_at(row.key),
            None => all,
        })
    }
}

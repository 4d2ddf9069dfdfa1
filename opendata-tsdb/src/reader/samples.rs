//! The samples of chosen series: their chunks are read and kept as they are stored, and decoded series by series when
//! the evaluator comes to it, in whichever thread that is.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::Access;

use super::cache::{Selection, Version, Window};
use super::{Reader, corrupt_row};
use crate::chunk::{self, Scratch, Wanted};
use crate::columns::Columns;
use crate::head::Head;
use crate::key::Key;
use crate::matcher::Matcher;
use crate::record::Sealing;
use crate::record::deletion::{self, Deletion};

/// From so many series of a metric on, a window is scanned; below, each series is read by its key.
const SCAN_FROM: usize = 8;
/// A scan may read over so many series for each one that is asked for.
const SCAN_OVER: usize = 16;
pub(super) const WINDOWS_AT_ONCE: usize = 16;
const ROWS_AT_ONCE: usize = 16;

/// The chosen series of one bucket, with what their samples in a range of times are decoded from.
pub(super) struct Part {
    pub(super) bucket: SegmentId,
    pub(super) selection: Arc<Selection>,
    /// By metric, in order: its windows, in the order of their times.
    windows: Vec<(u32, Vec<Arc<Window>>)>,
    head: Arc<Head>,
    /// How far the head is being sealed.
    sealing: Option<Sealing>,
    deletions: Arc<Vec<Deletion>>,
    range: (i64, i64),
}

impl Part {
    /// Puts the samples of a series, by its place in the selection, into `out`, which must be empty.
    ///
    /// # Errors
    /// `Corrupt` if a chunk cannot be read.
    pub(super) fn read(&self, place: usize, scratch: &mut Scratch, out: &mut Columns) -> Result<()> {
        let Some((id, entry)) = self.selection.series.get(place) else { return Ok(()) };
        let wanted = scratch.wanted;
        if self.deletions.iter().any(|deletion| deletion.ids.contains(*id)) {
            // The one that is wanted of those that are stored may be deleted.
            scratch.wanted = if wanted.looks_at_values() { Wanted::All } else { Wanted::Times };
        }
        if matches!(scratch.wanted, Wanted::Lowest | Wanted::Highest) {
            scratch.alone_before_ms = self.head.first_ms(*id);
        }
        let windows = self.windows.binary_search_by_key(&entry.metric, |(metric, _)| *metric);
        let windows = windows.ok().and_then(|at| self.windows.get(at)).map_or(&[][..], |(_, windows)| windows);
        let overlaps = windows.iter().any(|window| window.repeats());
        if overlaps {
            // Of two rows of a window, either may replace what the other says of its lowest and highest.
            scratch.alone_before_ms = i64::MIN;
        }
        for row in windows.iter().flat_map(|window| window.get(*id)) {
            chunk::decode_range(row, self.range, scratch, out)
                .map_err(|error| error.context(format_args!("series {id} in bucket {}", self.bucket.0)))?;
        }
        if overlaps {
            out.settle();
        }
        scratch.wanted = wanted;
        // The head was freed of what is deleted when it was.
        deletion::apply(&self.deletions, *id, out);
        let sealed = out.len();
        let in_chunks = self.sealing.filter(|sealing| *id < sealing.next_series).map(|sealing| sealing.through);
        self.head.collect(*id, self.range, in_chunks, out);
        if out.len() > sealed {
            // What is not sealed is newer than what is, so it stands behind and wins.
            out.settle();
        }
        Ok(())
    }

    /// How many rows of chunks were taken from the store or the cache, and their bytes.
    pub(super) fn chunk_rows(&self) -> (usize, usize) {
        let windows = self.windows.iter().flat_map(|(_, windows)| windows);
        windows.fold((0, 0), |(rows, bytes), window| (rows + window.row_count(), bytes + window.stored_bytes()))
    }
}

impl Reader {
    /// The series of a bucket that satisfy every matcher, ready to be decoded.
    pub(super) async fn part(&self, bucket: SegmentId, matchers: &[Matcher], range: (i64, i64)) -> Result<Part> {
        let (selection, head) = futures::try_join!(self.selection(bucket, matchers, range), self.head(bucket))?;
        let deletions = self.deletions().await?.get(&bucket).cloned().unwrap_or_default();
        let windows = self.read_windows(bucket, &selection, range).await?;
        let sealing = self.view.state().and_then(|state| state.sealing.get(&bucket).copied());
        Ok(Part { bucket, selection, windows, head, sealing, deletions, range })
    }

    /// The chunks of a selection in a range of times.
    async fn read_windows(
        &self,
        bucket: SegmentId,
        selection: &Selection,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Vec<(u32, Vec<Arc<Window>>)>> {
        let mut reads = Vec::new();
        for window in self.calendar.windows(bucket, start_ms, end_ms) {
            for (place, (metric, ids)) in selection.metrics.iter().enumerate() {
                let window = self.window(bucket, *metric, window, ids);
                reads.push(async move { window.await.map(|window| (place, window)) });
            }
        }
        let mut read: Vec<(u32, Vec<Arc<Window>>)> =
            selection.metrics.iter().map(|(metric, _)| (*metric, Vec::new())).collect();
        let mut reads = stream::iter(reads).buffered(WINDOWS_AT_ONCE);
        while let Some((place, window)) = reads.try_next().await? {
            if let Some((_, windows)) = read.get_mut(place) {
                windows.push(window);
            }
        }
        Ok(read)
    }

    fn chunk_version(&self, bucket: SegmentId, window: u8) -> Version {
        match self.view.state() {
            Some(state) => Version::Written(state.edits.of_window(bucket, window)),
            None => Version::At(self.position()),
        }
    }

    /// The rows of some series of one metric in one window.
    pub(super) async fn window(&self, bucket: SegmentId, metric: u32, window: u8, ids: &[u32]) -> Result<Arc<Window>> {
        let version = self.chunk_version(bucket, window);
        let (Some(first), Some(last)) = (ids.first().copied(), ids.last().copied()) else {
            return Ok(Arc::new(Window::new(version, 0, 0)));
        };
        let key = (bucket, metric, window);
        let known = self.cache.windows.get(&key).and_then(|known| self.caught_up(known, key, version));
        if let Some(known) = &known
            && known.covers(first, last)
        {
            return Ok(Arc::clone(known));
        }
        let span = (last - first) as usize + 1;
        if ids.len() < SCAN_FROM || span > SCAN_OVER * ids.len() {
            return self.rows_by_key(bucket, metric, window, ids).await;
        }
        let mut found = Window::new(version, first, last);
        let range = self.index.keys.data_range(bucket, metric, window, first, last);
        let mut rows = self.index.rows(range, Access::Warm).await?;
        while let Some(row) = rows.next().await? {
            let Key::Data { series, .. } = Key::decode(&row.key).map_err(corrupt_row(&row.key))? else { break };
            if !found.has_room() {
                return Err(opendata_core::Error::unsupported(
                    "one metric has more than 2 GiB of chunks in one window",
                ));
            }
            found.push(series, &row.value);
        }
        let found = Arc::new(found);
        // The larger range stays.
        if known.is_none_or(|known| known.last - known.first <= last - first) {
            self.cache.windows.put(key, Arc::clone(&found));
        }
        Ok(found)
    }

    /// A window that was read before, as it is at a version; none if that cannot be told.
    fn caught_up(&self, known: Arc<Window>, key: (SegmentId, u32, u8), version: Version) -> Option<Arc<Window>> {
        if known.version == version {
            return Some(known);
        }
        let ((bucket, metric, window), Version::Written(edits)) = (key, known.version) else { return None };
        let sealed = self.view.state()?.edits.sealed_since(bucket, window, edits)?;
        let caught_up = Arc::new(known.with(&sealed, metric, version));
        if !caught_up.has_room() {
            return None;
        }
        self.cache.windows.put(key, Arc::clone(&caught_up));
        Some(caught_up)
    }

    async fn rows_by_key(&self, bucket: SegmentId, metric: u32, window: u8, ids: &[u32]) -> Result<Arc<Window>> {
        let ends = (ids.first().copied().unwrap_or(0), ids.last().copied().unwrap_or(0));
        let mut found = Window::new(self.chunk_version(bucket, window), ends.0, ends.1);
        let reads: Vec<_> = ids.iter().map(|id| self.index.chunks(bucket, metric, window, *id)).collect();
        let mut reads = stream::iter(reads).buffered(ROWS_AT_ONCE);
        let mut asked = ids.iter();
        while let (Some(id), Some(row)) = (asked.next(), reads.try_next().await?) {
            if let Some(row) = row {
                found.push(*id, &row);
            }
        }
        Ok(Arc::new(found))
    }
}

//! Which chunks were changed since the slate was opened: what was read of a window before tells by that whether it is right,
//! and what has been sealed since is added to it without reading the window again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::key::SegmentId;

use crate::key::Key;

/// The rows of so many bytes that were sealed last are remembered.
const REMEMBERED_BYTES: usize = 16 << 20;

/// A row, with its metric and series.
type Row = ((u32, u32), Bytes);

/// How often the chunks of each window were changed, and what was sealed last.
#[derive(Debug, Default, Clone)]
pub(crate) struct Edits {
    counts: BTreeMap<(SegmentId, u8), u64>,
    sealed: VecDeque<Arc<Sealed>>,
    sealed_bytes: usize,
}

/// What one step of sealing added to a window.
#[derive(Debug)]
pub(crate) struct Sealed {
    window: (SegmentId, u8),
    /// How often the window had been changed with it.
    edits: u64,
    /// By metric and series, ascending.
    rows: Vec<Row>,
}

impl Sealed {
    /// The rows of some series of a metric, in order.
    pub(crate) fn rows(&self, metric: u32, (first, last): (u32, u32)) -> &[Row] {
        let begin = self.rows.partition_point(|(key, _)| *key < (metric, first));
        let end = self.rows.partition_point(|(key, _)| *key <= (metric, last));
        self.rows.get(begin..end).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|(_, row)| 48 + row.len()).sum()
    }
}

impl Edits {
    pub(crate) fn of_window(&self, bucket: SegmentId, window: u8) -> u64 {
        self.counts.get(&(bucket, window)).copied().unwrap_or(0)
    }

    pub(crate) fn of_bucket(&self, bucket: SegmentId) -> u64 {
        self.counts.range((bucket, 0)..=(bucket, u8::MAX)).map(|(_, edits)| edits).sum()
    }

    /// Notes that these rows of chunks are changed.
    pub(crate) fn change<'a>(&mut self, keys: impl Iterator<Item = &'a Bytes>) {
        let mut windows: Vec<(SegmentId, u8)> = keys
            .filter_map(|key| match Key::decode(key) {
                Ok(Key::Data { bucket, window, .. }) => Some((bucket, window)),
                _ => None,
            })
            .collect();
        windows.sort_unstable();
        windows.dedup();
        for window in windows {
            *self.counts.entry(window).or_default() += 1;
        }
    }

    /// Notes that these rows of chunks are added to those that are there.
    pub(crate) fn seal(&mut self, rows: &[(Bytes, Bytes)]) {
        let mut windows: BTreeMap<(SegmentId, u8), Vec<Row>> = BTreeMap::new();
        for (key, row) in rows {
            if let Ok(Key::Data { bucket, metric, window, series }) = Key::decode(key) {
                windows.entry((bucket, window)).or_default().push(((metric, series), row.clone()));
            }
        }
        for (window, mut rows) in windows {
            rows.sort_unstable_by_key(|(key, _)| *key);
            let edits = self.counts.entry(window).or_default();
            *edits += 1;
            let sealed = Sealed { window, edits: *edits, rows };
            self.sealed_bytes += sealed.bytes();
            self.sealed.push_back(Arc::new(sealed));
        }
        while self.sealed_bytes > REMEMBERED_BYTES
            && let Some(oldest) = self.sealed.pop_front()
        {
            self.sealed_bytes -= oldest.bytes();
        }
    }

    /// What was added to a window since it had been changed so often, oldest first; none if something else was done to it, or
    /// it is not remembered.
    pub(crate) fn sealed_since(&self, bucket: SegmentId, window: u8, edits: u64) -> Option<Vec<Arc<Sealed>>> {
        let missing = usize::try_from(self.of_window(bucket, window).checked_sub(edits)?).ok()?;
        let later = self.sealed.iter().filter(|sealed| sealed.window == (bucket, window) && sealed.edits > edits);
        let found: Vec<_> = later.cloned().collect();
        (found.len() == missing).then_some(found)
    }

    /// Forgets the buckets before one.
    pub(crate) fn forget_before(&mut self, live: SegmentId) {
        self.counts.retain(|(bucket, _), _| *bucket >= live);
        self.sealed.retain(|sealed| sealed.window.0 >= live);
        self.sealed_bytes = self.sealed.iter().map(|sealed| sealed.bytes()).sum();
    }
}

#[cfg(test)]
mod tests {
    use opendata_core::key::{InstanceId, Prefix, SystemId};

    use super::*;
    use crate::key::Keys;

    #[test]
    fn what_was_sealed_since_is_told_unless_something_else_was_done() {
        let keys = Keys::new(Prefix {
            system: SystemId::TSDB,
            version: 1,
            instance: InstanceId(1),
            segment: SegmentId::CONTROL,
        });
        let bucket = SegmentId(40);
        let row = |window: u8, series: u32| (keys.data(bucket, 5, window, series), Bytes::from_static(b"row"));
        let mut edits = Edits::default();
        edits.seal(&[row(1, 8), row(1, 2), row(2, 2)]);
        edits.seal(&[row(1, 9)]);
        let series = |sealed: &Sealed, ids| sealed.rows(5, ids).iter().map(|((_, id), _)| *id).collect::<Vec<_>>();
        let since = |edits: &Edits, count| edits.sealed_since(bucket, 1, count);
        let all = since(&edits, 0).unwrap();
        assert_eq!(all.iter().map(|sealed| series(sealed, (0, 9))).collect::<Vec<_>>(), [vec![2, 8], vec![9]]);
        assert_eq!(series(&all[0], (3, 9)), [8]);
        assert_eq!(all[0].rows(4, (0, 9)).len() + all[0].rows(6, (0, 9)).len(), 0);
        assert_eq!(since(&edits, 1).map(|sealed| sealed.len()), Some(1));
        assert_eq!(since(&edits, 2).map(|sealed| sealed.len()), Some(0));
        assert!(since(&edits, 3).is_none(), "a view from before");
        edits.change([row(1, 2).0].iter());
        assert!(since(&edits, 2).is_none());
        edits.seal(&[row(1, 3)]);
        assert_eq!((since(&edits, 2).is_none(), since(&edits, 3).map(|sealed| sealed.len())), (true, Some(1)));
        let large = vec![0; REMEMBERED_BYTES];
        edits.seal(&[(row(1, 1).0, large.into())]);
        assert!(since(&edits, 4).is_none(), "too large to be remembered");
        assert_eq!(since(&edits, 5).map(|sealed| sealed.len()), Some(0));
    }
}

//! What a writer is given while the committer stages a group: a place to read, and a place to write.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::WriteBatch;

use super::registry::Instance;
use super::view::View;
use crate::error::{Error, Result};
use crate::key::{KeyRange, Prefix, SegmentId};
use crate::slate::{Access, Order, Rows};
use crate::time::{Position, Timestamp};

/// The rows of one group of transactions, on their way to the slate as one batch.
pub(crate) struct Batch {
    pub(crate) rows: WriteBatch,
    pub(crate) row_count: usize,
    pub(crate) size_bytes: usize,
    /// Rows that later transactions of the same group must see: `None` is a deletion.
    pub(crate) overlay: HashMap<Bytes, Option<Bytes>>,
    /// The last position given out.
    pub(crate) last: Position,
    /// The first key that an instance wrote outside its own prefix: a mistake of ours that must never be stored.
    pub(crate) foreign: Option<Bytes>,
}

impl Batch {
    pub(crate) fn after(last: Position) -> Self {
        Self { rows: WriteBatch::new(), row_count: 0, size_bytes: 0, overlay: HashMap::new(), last, foreign: None }
    }

    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.count(&key, &value);
        self.rows.put_bytes(key, value);
    }

    pub(crate) fn delete(&mut self, key: &Bytes) {
        self.count(key, &[]);
        self.rows.delete(key);
    }

    /// Where it stands, behind the last one: at its last record, or at a position of its own if it brings none.
    pub(crate) fn position_behind(&self, last: Position) -> Position {
        self.last.max(last.next())
    }

    fn count(&mut self, key: &[u8], value: &[u8]) {
        self.row_count += 1;
        self.size_bytes += key.len() + value.len();
    }
}

/// What [`prepare`](crate::SystemWriter::prepare) may look at.
pub struct PrepareContext<'a> {
    pub(crate) view: &'a View,
    pub(crate) batch: &'a Batch,
    pub(crate) instance: &'a Arc<Instance>,
    pub(crate) now: Timestamp,
    pub(crate) alone: bool,
}

impl PrepareContext<'_> {
    /// Whether the transaction asks for nothing but this operation. If not, an operation that is to have no
    /// effect, because it was committed before, must refuse the transaction: the rest would take effect again.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// The slate as it was before this group. Rows of earlier transactions in the group are not in it.
    #[must_use]
    pub fn view(&self) -> &View {
        self.view
    }

    /// The last position given out, to this instance or another: the next record stands behind it.
    #[must_use]
    pub fn last_position(&self) -> Position {
        self.batch.last
    }

    /// The time of this group. It never goes back within a slate, whatever the clock does.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The prefix of this instance's keys in a segment.
    #[must_use]
    pub fn prefix(&self, segment: SegmentId) -> Prefix {
        self.instance.prefix(segment)
    }

    /// A value, as earlier transactions of the group left it if they used [`ApplyContext::put_visible`].
    ///
    /// # Errors
    /// What the store returned.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.batch.overlay.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.view.get(key).await,
        }
    }

    /// The rows of a range as they were before this group.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan(&self, range: KeyRange, access: Access, order: Order) -> Result<Rows> {
        self.view.scan(range, access, order).await
    }
}

/// Where [`apply`](crate::SystemWriter::apply) writes.
pub struct ApplyContext<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) instance: &'a Arc<Instance>,
    pub(crate) now: Timestamp,
    pub(crate) derived: bool,
}

impl ApplyContext<'_> {
    /// Whether the transaction is [marked as derived](super::Transaction::mark_derived).
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.derived
    }

    /// Gives out `count` positions for records and returns the first; the last one is `first + count - 1`.
    pub fn allocate(&mut self, count: u64) -> Position {
        let first = self.batch.last.next();
        self.batch.last = Position(self.batch.last.0 + count);
        first
    }

    /// The last position given out.
    #[must_use]
    pub fn last_position(&self) -> Position {
        self.batch.last
    }

    /// The time of this group; see [`PrepareContext::now`].
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The prefix of this instance's keys in a segment.
    #[must_use]
    pub fn prefix(&self, segment: SegmentId) -> Prefix {
        self.instance.prefix(segment)
    }

    /// Sets a row. A later put or delete of the same key in the group replaces it.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.own(&key);
        self.batch.put(key, value);
    }

    /// Sets a row that [`PrepareContext::get`] shows to later transactions of the same group.
    pub fn put_visible(&mut self, key: Bytes, value: Bytes) {
        self.batch.overlay.insert(key.clone(), Some(value.clone()));
        self.put(key, value);
    }

    /// Removes a row.
    pub fn delete(&mut self, key: Bytes) {
        self.own(&key);
        self.batch.delete(&key);
        if let Some(shown) = self.batch.overlay.get_mut(&key) {
            *shown = None;
        }
    }

    /// Removes a row, and [`PrepareContext::get`] shows that to later transactions of the same group.
    pub fn delete_visible(&mut self, key: Bytes) {
        self.batch.overlay.insert(key.clone(), None);
        self.delete(key);
    }

    /// Merges an operand into a row through [`DataSystem::merge`](crate::DataSystem::merge). In one group,
    /// a later put of the same key replaces it.
    pub fn merge(&mut self, key: Bytes, operand: Bytes) {
        self.own(&key);
        self.batch.count(&key, &operand);
        self.batch.rows.merge(key, operand);
    }

    fn own(&mut self, key: &Bytes) {
        let own = self.instance.prefix(SegmentId::CONTROL).encode();
        let is_own = own.get(..4).is_some_and(|own| key.starts_with(own)) && key.len() > own.len();
        if !is_own && self.batch.foreign.is_none() {
            self.batch.foreign = Some(key.clone());
        }
    }
}

/// Refuses a batch that holds a key of another instance.
pub(crate) fn check_own(batch: &Batch) -> Result<()> {
    match &batch.foreign {
        None => Ok(()),
        Some(key) => {
            Err(Error::invalid(format!("an instance wrote a key outside its prefix, key={}", crate::Hex(key))))
        }
    }
}

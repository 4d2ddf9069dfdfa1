//! Cursors: named values in an instance's control segment, moved by compare-and-set in a transaction.
//!
//! ```text
//! key    | prefix, segment 0 | tag 0x02 | name, terminated |
//! value  | as given |
//! ```
//!
//! They live under the *sink instance's* prefix, so that a clone of one instance carries its own.

use bytes::Bytes;

use super::context::{ApplyContext, PrepareContext};
use super::registry::Address;
use super::view::{Access, View};
use crate::error::{Error, Result};
use crate::key::{KeyReader, Prefix, SegmentId, Tag};

pub(super) const CURSOR: Tag = Tag(0x02);
const MAX_NAME: usize = 256;

pub(crate) struct CursorUpdate {
    pub(crate) instance: Address,
    pub(crate) name: String,
    pub(crate) expected: Option<Bytes>,
    /// None removes it.
    pub(crate) next: Option<Bytes>,
}

impl CursorUpdate {
    pub(crate) fn size_bytes(&self) -> usize {
        self.name.len() + self.next.as_ref().map_or(0, Bytes::len) + 32
    }

    pub(crate) async fn check(&self, cx: &PrepareContext<'_>) -> Result<()> {
        if self.name.is_empty() || self.name.len() > MAX_NAME {
            return Err(Error::invalid(format!("a cursor name is 1 to {MAX_NAME} bytes, name={:?}", self.name)));
        }
        let found = cx.get(&key(cx.prefix(SegmentId::CONTROL), &self.name)).await?;
        if found == self.expected {
            return Ok(());
        }
        Err(Error::conflict(format!("the cursor stands elsewhere, cursor={}", self.name)))
    }

    /// Later transactions of the same group see it.
    pub(crate) fn apply(self, cx: &mut ApplyContext<'_>) {
        let key = key(cx.prefix(SegmentId::CONTROL), &self.name);
        match self.next {
            Some(next) => cx.put_visible(key, next),
            None => cx.delete_visible(key),
        }
    }
}

fn key(prefix: Prefix, name: &str) -> Bytes {
    prefix.key(CURSOR).terminated(name.as_bytes()).build()
}

impl View {
    /// A cursor of an instance, as [`Transaction::move_cursor`](super::Transaction::move_cursor) left it.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; what the store returned.
    pub async fn cursor(&self, instance: &str, name: &str) -> Result<Option<Bytes>> {
        let prefix = self.0.registry.find(instance)?.prefix(SegmentId::CONTROL);
        self.get(&key(prefix, name)).await
    }

    /// All cursors of an instance, by name.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; what the store returned.
    pub async fn cursors(&self, instance: &str) -> Result<Vec<(String, Bytes)>> {
        let prefix = self.0.registry.find(instance)?.prefix(SegmentId::CONTROL);
        let mut rows = self.scan(prefix.key(CURSOR).range(), Access::Point, super::Order::Ascending).await?;
        let mut cursors = Vec::new();
        while let Some(row) = rows.next().await? {
            let (_, _, mut reader) = KeyReader::new(&row.key)?;
            let name = String::from_utf8(reader.terminated()?)
                .map_err(|error| Error::corrupt_at(&row.key, "cursor name").with_source(error))?;
            cursors.push((name, Bytes::copy_from_slice(&row.value)));
        }
        Ok(cursors)
    }
}

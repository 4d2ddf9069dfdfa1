//! Rows that a user of an instance keeps beside its data: small values under a name, written in the same transaction.
//!
//! ```text
//! key    | prefix, segment 0 | tag 0x03 | name, terminated | key as given |
//! value  | as given |
//! ```
//!
//! What an edge must remember beyond its cursor (open windows, dead letters) lies here, and what describes an instance
//! (its schemas): under the instance's prefix, so that a clone of the instance carries it.

use bytes::Bytes;

use super::context::ApplyContext;
use super::registry::{Address, Registry};
use super::view::{Access, Order, View};
use crate::error::{Error, Result};
use crate::key::{Prefix, SegmentId, Tag};

pub(super) const STATE: Tag = Tag(0x03);
const MAX_NAME: usize = 256;

pub(crate) struct StateUpdate {
    pub(crate) instance: Address,
    pub(crate) name: String,
    pub(crate) key: Bytes,
    /// None removes the row.
    pub(crate) value: Option<Bytes>,
}

impl StateUpdate {
    pub(crate) fn size_bytes(&self) -> usize {
        self.name.len() + self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + 32
    }

    pub(crate) fn check(&self, registry: &Registry) -> Result<()> {
        if registry.at(self.instance).is_none() {
            return Err(Error::not_found(format!("no such instance in this slate, id={}", self.instance.id.0)));
        }
        if (1..=MAX_NAME).contains(&self.name.len()) {
            return Ok(());
        }
        Err(Error::invalid(format!("a name of state is 1 to {MAX_NAME} bytes, name={:?}", self.name)))
    }

    pub(crate) fn apply(self, cx: &mut ApplyContext<'_>) {
        let key = key(cx.prefix(SegmentId::CONTROL), &self.name, &self.key);
        match self.value {
            Some(value) => cx.put(key, value),
            None => cx.delete(key),
        }
    }
}

fn key(prefix: Prefix, name: &str, key: &[u8]) -> Bytes {
    prefix.key(STATE).terminated(name.as_bytes()).raw(key).build()
}

impl View {
    /// One row of an instance's state, as [`Transaction::put_state`](super::Transaction::put_state) left it.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; what the store returned.
    pub async fn state(&self, instance: &str, name: &str, row: &[u8]) -> Result<Option<Bytes>> {
        let prefix = self.0.registry.find(instance)?.prefix(SegmentId::CONTROL);
        self.get(&key(prefix, name, row)).await
    }

    /// The rows of an instance's state under a name whose keys begin with `beginning`, from the key `from` on (not included;
    /// none: from the first), at most `limit`. In order of keys.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; what the store returned.
    pub async fn states(
        &self,
        instance: &str,
        name: &str,
        beginning: &[u8],
        from: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let prefix = self.0.registry.find(instance)?.prefix(SegmentId::CONTROL);
        let whole = key(prefix, name, &[]);
        let mut range = prefix.key(STATE).terminated(name.as_bytes()).raw(beginning).range();
        if let Some(from) = from {
            range.start = std::ops::Bound::Excluded(key(prefix, name, from));
        }
        let mut rows = self.scan(range, Access::Bulk, Order::Ascending).await?;
        let mut states = Vec::new();
        while states.len() < limit {
            let Some(row) = rows.next().await? else { break };
            let own = row.key.get(whole.len()..).unwrap_or_default();
            states.push((Bytes::copy_from_slice(own), Bytes::copy_from_slice(&row.value)));
        }
        Ok(states)
    }
}

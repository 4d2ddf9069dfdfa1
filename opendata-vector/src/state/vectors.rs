//! Vectors in the order of their ids, read page after page.

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::slate::{Access, Order, Rows};

use super::tail::Block;
use super::{Snapshot, push_scored};
use crate::key::Key;
use crate::record::page::Entries;
use crate::schema::VectorField;

/// Goes through the vectors of a run of ids. Dead ones are not in it.
pub(crate) struct Vectors {
    rows: Rows,
    page_ids: u64,
    from: u64,
    to: u64,
    /// The rest of the page that is being read, the next in front.
    page: std::vec::IntoIter<(u64, Bytes)>,
    key: Bytes,
}

impl Vectors {
    /// The next id, the key that it was found at, and its vector as it is stored.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, &[u8], Bytes)>> {
        loop {
            if let Some((id, value)) = self.page.next() {
                return Ok(Some((id, &self.key, value)));
            }
            let Some(row) = self.rows.next().await? else { return Ok(None) };
            let Key::Vec { page, .. } = Key::decode(&row.key)? else { continue };
            let mut found = Vec::new();
            let mut entries = Entries::new(&row.key, &row.value)?;
            while let Some((low, entry)) = entries.next(&row.key)? {
                let id = page.saturating_mul(self.page_ids).saturating_add(low.into());
                if let Some(bytes) = entry.filter(|_| (self.from..self.to).contains(&id)) {
                    found.push((id, row.value.slice_ref(bytes)));
                }
            }
            (self.page, self.key) = (found.into_iter(), row.key);
        }
    }
}

impl Snapshot<'_> {
    /// The vectors of a field with ids from one on, up to another, excluded.
    pub(crate) async fn vectors(
        self,
        name: &str,
        field: VectorField,
        (from, to): (u64, u64),
        access: Access,
    ) -> Result<Vectors> {
        let page_ids = field.page_ids();
        let range = self.keys.vec_pages(name, from / page_ids, to.div_ceil(page_ids));
        let rows = self.view.scan(range, access, Order::Ascending).await?;
        Ok(Vectors { rows, page_ids, from, to, page: Vec::new().into_iter(), key: Bytes::new() })
    }

    /// Every so many live vectors of a run of ids, `limit` at most, if all of them are in memory, and what is there is known to be alive.
    pub(crate) fn held_block(
        self,
        name: &str,
        field: VectorField,
        (from, to): (u64, u64),
        limit: usize,
        step: usize,
    ) -> Option<Block> {
        if from < self.state.forgotten_to {
            return None;
        }
        let number = self.state.field_number(name);
        let mut block = Block::default();
        let live = (from..to).filter(|id| !self.state.dead.contains(*id));
        for id in live.step_by(step.max(1)).take(limit) {
            block.vectors.extend_from_slice(&self.held_vector(number, id)?);
            block.ids.push(id);
        }
        debug_assert_eq!(block.vectors.len(), block.ids.len() * field.dims as usize);
        Some(block)
    }

    /// Vectors of a run of ids, `limit` live ones at most.
    pub(crate) async fn scan_block(
        self,
        name: &str,
        field: VectorField,
        (from, to): (u64, u64),
        limit: usize,
    ) -> Result<Block> {
        let mut block = Block::default();
        let mut vectors = self.vectors(name, field, (from, to), Access::Bulk).await?;
        while block.ids.len() < limit
            && let Some((id, key, value)) = vectors.next().await?
        {
            if !self.state.dead.contains(id) {
                block.ids.push(id);
                push_scored(key, &value, field, &mut block.vectors)?;
            }
        }
        Ok(block)
    }
}

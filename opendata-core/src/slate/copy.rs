//! Copying: a slate as it stood at one instant, into another store, sharing no file with it.
//!
//! A fork lives on its parent's files, so it is no backup. A copy is: every row is read and written again. The slate's own record is written
//! last, so that a copy that was broken off is never taken for a slate.

use slatedb::config::{FlushOptions, FlushType, WriteOptions};
use slatedb::{Db, WriteBatch};

use super::SlateReader;
use super::committer::write_failure;
use super::fork::{Files, close_raw, open_raw, write_record};
use super::registry::{Ancestor, Registry, SlateId};
use super::view::{Access, Order, Rows, View};
use crate::error::{Error, Result};
use crate::key::KeyRange;
use crate::store::Store;
use crate::time::Position;

/// About how many bytes are written at once.
const BATCH_BYTES: u64 = 4 << 20;

/// How much was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// A checksum over all keys and values in order (FNV-1a, 64 bits), the slate's own record not among them: of the copy and of what was
    /// copied it is the same.
    pub checksum: u64,
}

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl SlateReader {
    /// Copies what this reader shows to a path of any store. The copy is a slate of its own, with this one as its
    /// ancestor, and its rows keep their positions. `progress` is told from time to time how much was copied.
    ///
    /// # Errors
    /// `Conflict` if there is something at the path; what the stores returned.
    pub async fn copy_to(&self, store: &Store, path: &str, mut progress: impl FnMut(Copied)) -> Result<Copied> {
        if store.admin(path, self.env())?.read_manifest(None).await?.is_some() {
            return Err(Error::conflict(format!("there is something at this path already, path={path}")));
        }
        let (_, own_path, router, _) = self.parts();
        let view = self.view();
        let db = open_raw(store, path, router, self.env()).await?;
        let slate_id = SlateId(self.env().random_uuid());
        let copied = copy_rows(&view, &db, (own_path, slate_id), &mut progress).await;
        let closed = close_raw(&db).await;
        let copied = copied?;
        closed?;
        Ok(copied)
    }

    /// Reads everything and sums it up: the same for a slate and its copy.
    ///
    /// # Errors
    /// What the store returned; `Corrupt` if a row cannot be read.
    pub async fn checksum(&self) -> Result<Copied> {
        let mut sum = Sum::default();
        let mut rows = all_rows(&self.view()).await?;
        while let Some(row) = rows.next().await? {
            sum.add(&row.key, &row.value);
        }
        Ok(sum.copied())
    }
}

#[derive(Default)]
struct Sum {
    copied: Copied,
    fnv: Fnv,
}

impl Sum {
    /// Whether the row is one that is copied.
    fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        if key == Registry::key() {
            return false;
        }
        self.fnv.add(key);
        self.fnv.add(value);
        self.copied.rows += 1;
        self.copied.bytes += u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
        true
    }

    fn copied(&self) -> Copied {
        Copied { checksum: self.fnv.0, ..self.copied }
    }
}

async fn all_rows(view: &View) -> Result<Rows> {
    view.scan(KeyRange::all(), Access::Bulk, Order::Ascending).await
}

async fn copy_rows(
    view: &View,
    db: &Db,
    (own_path, slate_id): (&str, SlateId),
    progress: &mut impl FnMut(Copied),
) -> Result<Copied> {
    let mut rows = all_rows(view).await?;
    let mut sum = Sum::default();
    let mut at = Position::ZERO;
    let (mut batch, mut written) = (WriteBatch::new(), 0);
    let mut waiting = false;
    while let Some(row) = rows.next().await? {
        if sum.add(&row.key, &row.value) {
            batch.put_bytes(row.key, row.value);
            waiting = true;
        }
        if sum.copied.bytes - written >= BATCH_BYTES {
            written = sum.copied.bytes;
            at = at.next();
            let full = std::mem::replace(&mut batch, WriteBatch::new());
            waiting = false;
            db.write_with_options(full, &WriteOptions { seqnum: at.0 }).await.map_err(write_failure)?;
            progress(sum.copied());
        }
    }
    if waiting {
        at = at.next();
        db.write_with_options(batch, &WriteOptions { seqnum: at.0 }).await.map_err(write_failure)?;
    }
    db.flush_with_options(FlushOptions { flush_type: FlushType::Wal }).await.map_err(write_failure)?;
    let mut registry = (*view.0.registry).clone();
    let parent = Ancestor { slate_id: registry.slate_id, path: own_path.to_owned(), fork_position: view.position() };
    registry.lineage.insert(0, parent);
    registry.slate_id = slate_id;
    registry.retired = None;
    write_record(db, registry.encode(), view.position().max(at).next(), Files::Sorted).await?;
    let copied = sum.copied();
    progress(copied);
    Ok(copied)
}

#[cfg(test)]
mod tests;

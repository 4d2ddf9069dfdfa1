//! Following a slate's write-ahead log from another process.
//!
//! A tail costs the store one request for each look at a file that is not there yet, and reads each file once, however many
//! followers its process has. It begins behind a view, so that view and tail together show every row exactly once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slatedb::manifest::VersionedManifest;
use slatedb::{ErrorKind as EngineErrorKind, ValueDeletable, WalFile, WalReader};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::time::{Position, Timestamp};

/// What was done to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was set.
    Put(Bytes),
    /// An operand was merged into it.
    Merge(Bytes),
    /// It was removed.
    Delete,
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalRow {
    /// The whole key, with its prefix.
    pub key: Bytes,
    /// What was done to it.
    pub change: Change,
    /// The commit that did it.
    pub position: Position,
}

/// Listing the files of a log, and the size of each, costs far more than asking for the one that comes next. A file is collected a good while after
/// the one before it was written, so only a tail that found nothing for so long asks whether it missed some.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// Follows the write-ahead log of a slate.
pub struct WalTail {
    reader: WalReader,
    next: WalFile,
    position: Position,
    /// When it was last known that nothing was missed; none if that was never asked.
    sure: Option<Instant>,
}

impl WalTail {
    pub(crate) fn new(store: &Store, path: &str, replayed: u64, position: Position) -> Result<Self> {
        let reader = WalReader::new(store.slate_path(path)?, Arc::clone(store.object_store()));
        let next = reader.get(replayed + 1);
        Ok(Self { reader, next, position, sure: None })
    }

    /// The position up to which rows were returned.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The rows of the next file, in the order they were committed. Empty if the writer has written no further file yet:
    /// ask again after a while.
    ///
    /// # Errors
    /// `NotFound` if files that this tail had not read were already collected as garbage, because it was
    /// too far behind: open a new reader and begin there. That is found out within a second of looks that show nothing.
    pub async fn next(&mut self) -> Result<Vec<WalRow>> {
        loop {
            let mut rows = match self.next.iterator().await {
                Ok(rows) => rows,
                Err(error) if is_missing(&error) => return self.check_not_collected().await.map(|()| Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut batch = Vec::new();
            let mut last = self.position;
            while let Some(entry) = rows.next().await? {
                let position = Position(entry.seq);
                if position <= self.position {
                    continue;
                }
                last = last.max(position);
                let change = match entry.value {
                    ValueDeletable::Value(value) => Change::Put(value),
                    ValueDeletable::Merge(operand) => Change::Merge(operand),
                    ValueDeletable::Tombstone => Change::Delete,
                };
                batch.push(WalRow { key: entry.key, change, position });
            }
            self.next = self.next.next_file();
            self.position = last;
            self.sure = Some(Instant::now());
            if !batch.is_empty() {
                // A file may hold its rows by key; a stable sort brings commits in order and keeps the order within one.
                batch.sort_by_key(|row| row.position);
                return Ok(batch);
            }
        }
    }

    /// A file that is not there yet and one that was collected look the same, except that files behind the
    /// second exist.
    async fn check_not_collected(&mut self) -> Result<()> {
        if self.sure.is_some_and(|sure| sure.elapsed() < LIST_EVERY) {
            return Ok(());
        }
        let asked = Instant::now();
        let later = self.reader.list(self.next.next_id()..).await?;
        if later.is_empty() {
            self.sure = Some(asked);
            return Ok(());
        }
        // The file may have appeared between the two looks.
        match self.next.iterator().await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Err(Error::not_found(format!(
                "the log was collected before it was read, position={}: open a new reader",
                self.position
            ))),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_missing(error: &slatedb::Error) -> bool {
    if !matches!(error.kind(), EngineErrorKind::Data | EngineErrorKind::Unavailable) {
        return false;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(object_store::Error::NotFound { .. }) = cause.downcast_ref::<object_store::Error>() {
            return true;
        }
        if let Some(cause) = cause.downcast_ref::<Arc<object_store::Error>>() {
            return matches!(**cause, object_store::Error::NotFound { .. });
        }
        source = cause.source();
    }
    false
}

/// The id of the last file of a slate's log, if there is one from `from` on.
pub(crate) async fn last_file(store: &Store, path: &str, from: u64) -> Result<Option<u64>> {
    let reader = WalReader::new(store.slate_path(path)?, Arc::clone(store.object_store()));
    // A file does not tell its own id, only the one behind it.
    Ok(reader.list(from..).await?.last().map(|file| file.next_id() - 1))
}

/// The time of the newest row a slate holds, as far as its manifest and the last file of its log tell.
pub(crate) async fn last_timestamp(
    store: &Store,
    path: &object_store::path::Path,
    manifest: &VersionedManifest,
) -> Result<Timestamp> {
    let mut newest = manifest.last_l0_clock_tick();
    let reader = WalReader::new(path.clone(), Arc::clone(store.object_store()));
    let files = reader.list(manifest.replay_after_wal_id()..).await?;
    // The last files may be empty fences of earlier openings.
    for file in files.iter().rev() {
        let mut found = false;
        let mut rows = match file.iterator().await {
            Ok(rows) => rows,
            Err(_) => continue,
        };
        while let Some(row) = rows.next().await? {
            found = true;
            newest = newest.max(row.create_ts.unwrap_or(i64::MIN));
        }
        if found {
            break;
        }
    }
    Ok(Timestamp(newest.max(0)))
}

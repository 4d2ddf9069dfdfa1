//! Reading and appending the control log.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use opendata_core::env::Env;
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Result, Timestamp};
use tokio::sync::{Mutex, watch};

use super::entry::{Entry, Said, VERSION};
use super::state::State;

const READS_AT_ONCE: u64 = 16;
/// How often an append that others were faster than is tried again.
const MAX_RACES: usize = 200;

/// The control log of one composition, and the state it adds up to. Cheap to clone.
#[derive(Clone)]
pub struct ControlLog(Arc<Inner>);

struct Inner {
    store: Store,
    folder: Path,
    by: String,
    env: Env,
    state: Mutex<Arc<State>>,
    shown: watch::Sender<Arc<State>>,
}

impl ControlLog {
    /// Opens the control log below a root, and reads it. `by` names this process in the entries it writes. A composition
    /// that nobody has said anything about has the empty state.
    ///
    /// # Errors
    /// What the store returned; `Corrupt` or `Unsupported` if an entry cannot be read.
    pub async fn open(store: &Store, root: &str, by: &str, env: &Env) -> Result<Self> {
        let folder = store.slate_path(root)?.join("_control");
        let state = Arc::new(State::default());
        let (shown, _) = watch::channel(Arc::clone(&state));
        let inner = Inner {
            store: store.clone(),
            folder,
            by: by.to_owned(),
            env: env.clone(),
            state: Mutex::new(state),
            shown,
        };
        let log = Self(Arc::new(inner));
        log.refresh().await?;
        Ok(log)
    }

    /// Who writes, in the entries of this log.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.0.by
    }

    /// The newest state that is known here; it costs nothing.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.0.shown.borrow())
    }

    /// Follows the state as it becomes known here, by own appends and by [`refresh`](Self::refresh).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.0.shown.subscribe()
    }

    /// Reads what was said since. One request if that is nothing.
    ///
    /// # Errors
    /// What the store returned; `Corrupt` or `Unsupported` if an entry cannot be read.
    pub async fn refresh(&self) -> Result<Arc<State>> {
        let mut state = self.0.state.lock().await;
        self.read_on(&mut state).await?;
        Ok(Arc::clone(&state))
    }

    /// All entries from a number on, as they were written.
    ///
    /// # Errors
    /// What the store returned; `Corrupt` or `Unsupported` if an entry cannot be read.
    pub async fn entries(&self, from: u64) -> Result<Vec<Entry>> {
        let end = self.refresh().await?.next;
        let read =
            stream::iter(from..end).map(|number| async move { self.get(number).await?.ok_or_else(|| missing(number)) });
        read.buffered(usize::try_from(READS_AT_ONCE).unwrap_or(16)).try_collect().await
    }

    /// Says something: checks it against everything said so far and writes it behind that.
    ///
    /// # Errors
    /// What the rules say about it (`Invalid`, `Conflict`, `NotFound`), with no trace left; what the store returned.
    pub async fn append(&self, said: Said) -> Result<Arc<State>> {
        self.append_with(move |_| Ok(Some(said.clone()))).await
    }

    /// Says what `decide` answers to the newest state. It is asked again whenever another entry came first; `None` says
    /// nothing.
    ///
    /// # Errors
    /// What `decide` returned, and those of [`append`](Self::append).
    pub async fn append_with(
        &self,
        mut decide: impl FnMut(&State) -> Result<Option<Said>> + Send,
    ) -> Result<Arc<State>> {
        let mut state = self.0.state.lock().await;
        for _ in 0..MAX_RACES {
            self.read_on(&mut state).await?;
            let Some(said) = decide(&state)? else { return Ok(Arc::clone(&state)) };
            let entry = Entry {
                version: VERSION,
                id: self.0.env.random_uuid().to_string(),
                at: Timestamp(self.0.env.now().0.max(state.at.0)),
                by: self.0.by.clone(),
                said,
            };
            let mut next = State::clone(&state);
            next.apply(&entry)?;
            if self.put(state.next, &entry).await? {
                *state = Arc::new(next);
                self.0.shown.send_replace(Arc::clone(&state));
                return Ok(Arc::clone(&state));
            }
        }
        Err(Error::conflict(format!("the control log is too busy, races={MAX_RACES}")))
    }

    async fn read_on(&self, state: &mut Arc<State>) -> Result<()> {
        let before = state.next;
        loop {
            // Most of the time there is nothing new, and one request tells; behind a first new entry there may be many.
            let Some(entry) = self.get(state.next).await? else { break };
            let mut next = State::clone(state);
            self.take(&mut next, &entry)?;
            let from = next.next;
            let ahead: Vec<Option<Entry>> = stream::iter(from..from + READS_AT_ONCE)
                .map(|number| self.get(number))
                .buffered(usize::try_from(READS_AT_ONCE).unwrap_or(16))
                .try_collect()
                .await?;
            let mut more = true;
            for entry in ahead {
                let Some(entry) = entry else {
                    more = false;
                    break;
                };
                self.take(&mut next, &entry)?;
            }
            *state = Arc::new(next);
            if !more {
                break;
            }
        }
        if state.next != before {
            self.0.shown.send_replace(Arc::clone(state));
        }
        Ok(())
    }

    fn take(&self, state: &mut State, entry: &Entry) -> Result<()> {
        let number = state.next;
        state.apply(entry).map_err(|error| {
            Error::corrupt(format!(
                "an entry of the control log does not fit those before it, path={}",
                self.path(number)
            ))
            .with_source(error)
        })
    }

    fn path(&self, number: u64) -> Path {
        self.0.folder.clone().join(format!("{number:020}.json"))
    }

    async fn get(&self, number: u64) -> Result<Option<Entry>> {
        let path = self.path(number);
        let mut tries = 0;
        let bytes = loop {
            let read = async { self.0.store.object_store().get(&path).await?.bytes().await };
            match read.await {
                Ok(bytes) => break bytes,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) if tries >= 4 => return Err(Error::from(error).context("read the control log")),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(10 << tries)).await;
        };
        Entry::decode(path.as_ref(), &bytes).map(Some)
    }

    /// Whether the entry is in the log now, at this number.
    async fn put(&self, number: u64, entry: &Entry) -> Result<bool> {
        let path = self.path(number);
        let bytes = entry.encode()?;
        let mut tries = 0;
        loop {
            let payload = PutPayload::from(bytes.clone());
            let options = PutOptions::from(PutMode::Create);
            match self.0.store.object_store().put_opts(&path, payload, options).await {
                Ok(_) => return Ok(true),
                // An earlier try may have succeeded without our learning it.
                Err(object_store::Error::AlreadyExists { .. }) => {
                    return Ok(self.get(number).await?.is_some_and(|found| found.id == entry.id));
                }
                Err(error) if tries >= 4 => return self.settle(number, entry, error.into()).await,
                Err(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(10 << tries)).await;
        }
    }

    /// The store failed for good; whether the entry is in the log is looked up, so that nothing is said twice.
    async fn settle(&self, number: u64, entry: &Entry, error: Error) -> Result<bool> {
        match self.get(number).await {
            Ok(Some(found)) => Ok(found.id == entry.id),
            // A put that is still on its way may yet arrive.
            _ => Err(error.with_kind(ErrorKind::OutcomeUnknown).context("write the control log")),
        }
    }
}

fn missing(number: u64) -> Error {
    Error::corrupt(format!("an entry of the control log is gone, number={number}"))
}

impl std::fmt::Debug for ControlLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlLog").field("folder", &self.0.folder.as_ref()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

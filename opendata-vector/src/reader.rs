//! Reads an instance at one view: documents by id, lists, counts, and searches.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::{Access, InstanceView};
use opendata_core::{Position, Result};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::document::Document;
use crate::filter::Filter;
use crate::key::{Key, Keys};
use crate::op::Version;
use crate::record;
use crate::search::{Query, Results};
use crate::state::{Cache, Snapshot, State};
use crate::system::Vector;

mod verify;

/// An instance at one view. Whatever it is asked, it answers as of that position. A reader of a checkpoint or of
/// another process keeps what it has read of the index: use one for many searches.
pub struct Reader {
    pub(crate) view: InstanceView<Vector>,
    loaded: OnceCell<Arc<State>>,
}

/// Which fields of a document are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The id only.
    Id,
    /// All but vectors.
    #[default]
    WithoutVectors,
    /// Everything.
    Everything,
    /// The fields of these names, whatever they are.
    Fields(BTreeSet<String>),
}

impl Select {
    /// The fields of these names.
    #[must_use]
    pub fn fields<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Fields(names.into_iter().map(Into::into).collect())
    }

    fn wants_vector(&self, name: &str) -> bool {
        match self {
            Self::Id | Self::WithoutVectors => false,
            Self::Everything => true,
            Self::Fields(names) => names.contains(name),
        }
    }

    fn wants(&self, name: &str) -> bool {
        match self {
            Self::Id => false,
            Self::WithoutVectors | Self::Everything => true,
            Self::Fields(names) => names.contains(name),
        }
    }
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The document, with the fields that were selected.
    pub document: Document,
    /// Its version.
    pub version: Version,
}

/// Figures of one vector field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldStats {
    /// Documents that have a vector here.
    pub vectors: u64,
    /// Cells of the index.
    pub cells: u64,
    /// Vectors in cells, replaced and deleted ones among them.
    pub indexed: u64,
    /// Ids that are not in cells yet, replaced and deleted ones among them: what is scanned exactly.
    pub tail: u64,
}

/// Figures of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Documents.
    pub documents: u64,
    /// Versions of documents that were ever written.
    pub versions: u64,
    /// Versions that were replaced or deleted and that indexes may still hold, or that are not forgotten yet.
    pub dead: u64,
    /// Bytes of memory that an open instance takes without anything cached, about: dead ids that are not forgotten yet, the tables of
    /// cells, and in the writer the vectors of the tail. Nothing of it is held for each document.
    pub state_bytes: u64,
    /// Bytes of decoded rows that are kept in memory.
    pub cached_bytes: u64,
    /// How often a commit found a full tail and drained a piece of it itself, since the writer was opened: see
    /// [`Config::tail_limit_rows`]. Only in the writer's process.
    pub drained_by_commits: u64,
    /// By vector field.
    pub fields: std::collections::BTreeMap<String, FieldStats>,
}

/// What readers without a writer's state share between the views of one opening.
#[derive(Default)]
struct OpeningCache(OnceLock<Arc<Cache>>);

impl Reader {
    pub(crate) fn new(view: InstanceView<Vector>) -> Self {
        Self { view, loaded: OnceCell::new() }
    }

    /// The position it shows.
    #[must_use]
    pub fn position(&self) -> Position {
        self.view.position()
    }

    /// Its settings, the schema among them.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.view.config()
    }

    /// The state. Where it must be read, what a query will want of it is read along.
    async fn state(&self, query: Option<&Query>) -> Result<&State> {
        if let Some(state) = self.view.state() {
            return Ok(state);
        }
        let load = || async {
            let searched = query.map(Query::searched).unwrap_or_default();
            let config = Arc::new(self.view.config().clone());
            let limit = config.cache_bytes;
            let cache = Arc::clone(self.view.cache::<OpeningCache>().0.get_or_init(|| Arc::new(Cache::new(limit))));
            State::load(self.view.view(), self.keys(), config, cache, &searched).await.map(Arc::new)
        };
        Ok(self.loaded.get_or_try_init(load).await?)
    }

    fn keys(&self) -> Keys {
        Keys(self.view.prefix(SegmentId::CONTROL))
    }

    async fn snapshot(&self) -> Result<Snapshot<'_>> {
        self.snapshot_for(None).await
    }

    async fn snapshot_for(&self, query: Option<&Query>) -> Result<Snapshot<'_>> {
        Ok(Snapshot { view: self.view.view(), keys: self.keys(), state: self.state(query).await? })
    }

    /// A document with everything in it.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn get(&self, id: impl AsRef<[u8]>) -> Result<Option<Found>> {
        self.get_selected(id, &Select::Everything).await
    }

    /// A document with some of its fields.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn get_selected(&self, id: impl AsRef<[u8]>, select: &Select) -> Result<Option<Found>> {
        let snapshot = self.snapshot().await?;
        match snapshot.find(id.as_ref()).await? {
            Some(id) => fetch(snapshot, id, select).await.map(Some),
            None => Ok(None),
        }
    }

    /// Several documents, in the order of the ids.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn get_all<I: AsRef<[u8]>>(
        &self,
        ids: impl IntoIterator<Item = I>,
        select: &Select,
    ) -> Result<Vec<Option<Found>>> {
        let gets = ids.into_iter().map(|id| async move { self.get_selected(id, select).await });
        futures::future::try_join_all(gets).await
    }

    /// Up to `limit` documents in the order of their ids, from behind `after` on. The last id of a page is where
    /// the next one begins.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan(&self, after: Option<&[u8]>, limit: usize, select: &Select) -> Result<Vec<Found>> {
        let snapshot = self.snapshot().await?;
        let keys = self.keys();
        let mut range = keys.ids();
        if let Some(after) = after {
            range.start = std::ops::Bound::Excluded(keys.id(after));
        }
        let mut rows = self.view.scan(range, Access::Bulk).await?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next().await?
        {
            if let Key::Id(external) = Key::decode(&row.key)? {
                let id = record::decode_id(&row.key, &row.value)?;
                if *select == Select::Id {
                    let document = Document { id: Bytes::copy_from_slice(&external), ..Document::default() };
                    found.push(Found { document, version: Version(id) });
                } else {
                    found.push(fetch(snapshot, id, select).await?);
                }
            }
        }
        Ok(found)
    }

    /// How many documents match.
    ///
    /// # Errors
    /// `Invalid` if the filter does not fit the schema, or what the store returned.
    pub async fn count(&self, filter: &Filter) -> Result<u64> {
        let snapshot = self.snapshot().await?;
        if *filter == Filter::all() {
            return Ok(snapshot.state.counters.live);
        }
        Ok(snapshot.matching(filter).await?.len())
    }

    /// Searches.
    ///
    /// # Errors
    /// `Invalid` if the query does not fit the schema, or what the store returned.
    pub async fn search(&self, query: &Query) -> Result<Results> {
        crate::search::run(self.snapshot_for(Some(query)).await?, query).await
    }

    /// Figures of the instance at this position.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn stats(&self) -> Result<Stats> {
        let state = self.state(None).await?;
        let fields = state.config.schema.vectors.keys().map(|name| {
            let table = state.table(name);
            let stats = FieldStats {
                vectors: state.counters.vectors.get(name).copied().unwrap_or(0),
                cells: table.cells.len() as u64,
                indexed: table.rows(),
                tail: state.tail_rows(name),
            };
            (name.clone(), stats)
        });
        Ok(Stats {
            documents: state.counters.live,
            versions: state.counters.next_id,
            dead: state.dead.len_of_parts(),
            state_bytes: state.size_bytes(),
            cached_bytes: state.cache.bytes(),
            drained_by_commits: state.drained_by_commits,
            fields: fields.collect(),
        })
    }
}

/// Reads the selected fields of a document.
pub(crate) async fn fetch(snapshot: Snapshot<'_>, id: u64, select: &Select) -> Result<Found> {
    // Only what is asked for is copied out of the cache.
    let held = snapshot.stored(id).await?;
    let stored = held.selected(|name| select.wants(name), |name| select.wants_vector(name));
    let document = snapshot.document(stored, id).await?;
    Ok(Found { document, version: Version(id) })
}

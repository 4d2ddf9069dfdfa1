//! Evaluates a filter to the set of ids that match, from the bitmaps of attribute values and from columns of numbers.
//!
//! Rows of chunks whose ids are all given out never gain anything, so they are cached for good; the row of the open
//! chunk is cached for as long as no id is given out. Sweeps rewrite rows, so each piece of one is another version: what it
//! removed may be alive for views that are older.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use opendata_core::Result;
use opendata_core::key::{KeyRange, successor};
use opendata_core::slate::{Access, Order};

use super::{Comparison, Filter, scalar, single};
use crate::document::Scalar;
use crate::idset::chunk::Chunk;
use crate::idset::{CHUNK, IdSet};
use crate::key::Key;
use crate::record;
use crate::record::column::{self, Column, ordered};
use crate::schema::Schema;
use crate::state::{Item, Place, Snapshot};

/// What is demanded of the number of each attribute.
type Spans<'a> = BTreeMap<&'a str, Vec<(Comparison, u64)>>;

/// The places of the numbers of a column that compare so.
fn places(column: &Column, comparison: Comparison, number: u64) -> Range<usize> {
    match comparison {
        Comparison::Less => 0..column.below(number),
        Comparison::LessOrEqual => 0..column.up_to(number),
        Comparison::Greater => column.up_to(number)..column.len(),
        Comparison::Equal => column.below(number)..column.up_to(number),
        _ => column.below(number)..column.len(),
    }
}

/// The places of the numbers that compare in all these ways.
fn places_of_all(column: &Column, span: &[(Comparison, u64)]) -> Range<usize> {
    let all = span.iter().map(|(comparison, number)| places(column, *comparison, *number));
    let both = all.fold(0..column.len(), |a, b| a.start.max(b.start)..a.end.min(b.end));
    both.start..both.end.max(both.start)
}

/// Whether it can be narrowed no further.
fn is_nothing(found: &Option<IdSet>) -> bool {
    found.as_ref().is_some_and(|found| found.len() == 0)
}

fn narrowed(found: Option<IdSet>, by: IdSet) -> IdSet {
    match found {
        Some(found) => found.intersect(&by),
        None => by,
    }
}

/// Where bitmaps are read.
#[derive(Clone, Copy)]
pub(crate) struct Bitmaps<'a> {
    snapshot: Snapshot<'a>,
    schema: &'a Schema,
}

impl<'a> Bitmaps<'a> {
    pub(crate) fn new(snapshot: Snapshot<'a>) -> Self {
        Self { snapshot, schema: &snapshot.state.config.schema }
    }

    /// The ids that match, dead ones among them.
    pub(crate) fn evaluate(self, filter: &'a Filter) -> BoxFuture<'a, Result<IdSet>> {
        self.of(filter).boxed()
    }

    async fn of(self, filter: &'a Filter) -> Result<IdSet> {
        match filter {
            Filter::And(all) => self.all_of(all).await,
            Filter::Or(all) => {
                let mut found = IdSet::default();
                for one in all {
                    found = found.union(self.evaluate(one).await?);
                }
                Ok(found)
            }
            Filter::Not(one) => Ok(self.snapshot.everything().await?.without(&self.evaluate(one).await?)),
            Filter::Compare { attribute, comparison, value } => {
                self.compare(attribute, *comparison, &single(self.schema, attribute, value)?).await
            }
            Filter::In { attribute, values } => {
                let mut found = IdSet::default();
                for value in values {
                    let value = single(self.schema, attribute, value)?;
                    found = found.union(self.equal(attribute, &value).await?);
                }
                Ok(found)
            }
            Filter::Prefix { attribute, beginning } => {
                self.scan(self.snapshot.keys.attr_prefix(attribute, beginning), |_| true).await
            }
            Filter::Contains { attribute, value } => {
                let of = self.schema.attribute_type(attribute)?;
                let value = scalar(attribute, of.element(), value)?;
                match &value {
                    Scalar::String(part) if !of.is_array() => {
                        let has_part = |key: &Key| matches!(key, Key::Attr { value: Scalar::String(own), .. } if own.contains(part));
                        self.scan(self.snapshot.keys.attr_values(attribute), has_part).await
                    }
                    value => self.equal(attribute, value).await,
                }
            }
            Filter::Exists { attribute } => self.exists(attribute).await,
        }
    }

    async fn all_of(self, all: &'a [Filter]) -> Result<IdSet> {
        let mut found: Option<IdSet> = None;
        let (spans, others) = self.spans(all)?;
        for (attribute, span) in spans {
            if is_nothing(&found) {
                break;
            }
            let set = self.numbers(attribute, |column| places_of_all(column, &span)).await?;
            found = Some(narrowed(found, set));
        }
        for one in others {
            if is_nothing(&found) {
                break;
            }
            let set = self.evaluate(one).await?;
            found = Some(narrowed(found, set));
        }
        match found {
            Some(found) => Ok(found),
            None => self.snapshot.everything().await,
        }
    }

    /// By attribute what is demanded of its number, so that from here to there is one range and not two of half the numbers; and
    /// everything else.
    fn spans(self, all: &'a [Filter]) -> Result<(Spans<'a>, Vec<&'a Filter>)> {
        let (mut spans, mut others) = (Spans::new(), Vec::new());
        for one in all {
            if let Filter::Compare { attribute, comparison, value } = one
                && *comparison != Comparison::NotEqual
                && let Some(number) = ordered(&single(self.schema, attribute, value)?)
            {
                spans.entry(attribute).or_default().push((*comparison, number));
            } else {
                others.push(one);
            }
        }
        Ok((spans, others))
    }

    async fn compare(self, attribute: &str, comparison: Comparison, value: &Scalar) -> Result<IdSet> {
        if comparison == Comparison::Equal {
            return self.equal(attribute, value).await;
        }
        if comparison == Comparison::NotEqual {
            return Ok(self.exists(attribute).await?.without(&self.equal(attribute, value).await?));
        }
        if let Some(number) = ordered(value) {
            return self.numbers(attribute, |column| places(column, comparison, number)).await;
        }
        let keys = self.snapshot.keys;
        let at = keys.attr_value(attribute, value).build();
        let behind = successor(&at).unwrap_or_else(|| at.clone());
        let all = keys.attr_values(attribute);
        let upto = |end| KeyRange { start: all.start.clone(), end: Bound::Excluded(end) };
        let from = |start| all.clone().starting_at(start);
        let range = match comparison {
            Comparison::Less => upto(at),
            Comparison::LessOrEqual => upto(behind),
            Comparison::Greater => from(behind),
            _ => from(at),
        };
        self.scan(range, |_| true).await
    }

    async fn equal(self, attribute: &str, value: &Scalar) -> Result<IdSet> {
        let keys = self.snapshot.keys;
        match ordered(value) {
            Some(number) => self.numbers(attribute, |column| places(column, Comparison::Equal, number)).await,
            None => {
                let row = |chunk| keys.attr(attribute, value, chunk);
                self.stored(row, keys.attr_value(attribute, value).range()).await
            }
        }
    }

    async fn exists(self, attribute: &str) -> Result<IdSet> {
        let keys = self.snapshot.keys;
        self.stored(|chunk| keys.has(attribute, chunk), keys.all_has(attribute)).await
    }

    /// The ids of numbers at some places of each column.
    async fn numbers(self, attribute: &str, places: impl Fn(&Column) -> Range<usize>) -> Result<IdSet> {
        let keys = self.snapshot.keys;
        let items = self.rows(|chunk| keys.num(attribute, chunk), keys.all_num(attribute)).await?;
        let mut found = IdSet::default();
        for (chunk, item) in items {
            if let Item::Column(column) = item {
                found.add_chunk(chunk, Arc::new(column.ids(places(&column))));
            }
        }
        Ok(found)
    }

    /// The ids of a bitmap that has a row a chunk.
    async fn stored(self, row: impl Fn(u64) -> Bytes, all: KeyRange) -> Result<IdSet> {
        let mut found = IdSet::default();
        for (chunk, item) in self.rows(row, all).await? {
            if let Item::Ids(ids) = item {
                found.add_chunk(chunk, ids);
            }
        }
        Ok(found)
    }

    /// The rows of chunks in which anything lives: from the cache, or else from the store. `all` spans exactly these rows.
    async fn rows(self, row: impl Fn(u64) -> Bytes, all: KeyRange) -> Result<Vec<(u64, Item)>> {
        /// More missing rows than this are read by one scan.
        const FEW: usize = 8;
        let state = self.snapshot.state;
        let next_id = state.counters.next_id;
        let (mut items, mut missing) = (Vec::new(), Vec::new());
        for chunk in 0..next_id.div_ceil(CHUNK) {
            if state.dead.chunk(chunk).is_some_and(|dead| matches!(&**dead, Chunk::All)) {
                continue;
            }
            let is_closed = (chunk + 1) * CHUNK <= next_id;
            let next_id = if is_closed { u64::MAX } else { next_id };
            let place = Place::Chunk { row: row(chunk), next_id, swept: state.sweep.pieces };
            match state.cache.get(&place) {
                Some(item) => items.push((chunk, item)),
                None => missing.push((chunk, place)),
            }
        }
        if missing.len() > FEW {
            let mut rows = self.snapshot.view.scan(all, Access::Bulk, Order::Ascending).await?;
            let mut read = BTreeMap::new();
            while let Some(row) = rows.next().await? {
                read.insert(row.key, row.value);
            }
            for (chunk, place) in missing {
                let Place::Chunk { row, .. } = &place else { continue };
                items.push((chunk, self.keep(&place, row, read.get(row).map(|value| &**value))?));
            }
            return Ok(items);
        }
        let read = missing.into_iter().map(|(chunk, place)| async move {
            let Place::Chunk { row, .. } = &place else { return Ok((chunk, Item::Ids(Arc::default()))) };
            let value = self.snapshot.view.get(row).await?;
            self.keep(&place, row, value.as_deref()).map(|item| (chunk, item))
        });
        items.extend(try_join_all(read).await?);
        Ok(items)
    }

    fn keep(self, place: &Place, row: &[u8], value: Option<&[u8]>) -> Result<Item> {
        let is_column = matches!(Key::decode(row)?, Key::Num { .. });
        let item = match value {
            Some(value) if is_column => Item::Column(Arc::new(Column::new(&column::decode(row, value)?))),
            None if is_column => Item::Column(Arc::default()),
            Some(value) => Item::Ids(Arc::new(Chunk::from_bitmap(&record::decode_bitmap(row, value)?))),
            None => Item::Ids(Arc::default()),
        };
        self.snapshot.state.cache.put(place.clone(), item.clone());
        Ok(item)
    }

    /// The ids of whatever rows of values a range holds.
    async fn scan(self, range: KeyRange, keep: impl Fn(&Key) -> bool) -> Result<IdSet> {
        let mut found = IdSet::default();
        let mut rows = self.snapshot.view.scan(range, Access::Point, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            let key = Key::decode(&row.key)?;
            if let Key::Attr { chunk, .. } = &key
                && keep(&key)
            {
                found.add_bitmap(*chunk, &record::decode_bitmap(&row.key, &row.value)?);
            }
        }
        Ok(found)
    }
}

//! Evaluates a filter to the set of ids that match, from the bitmaps of attribute values.

use std::ops::Bound;

use futures::future::{BoxFuture, FutureExt};
use opendata_core::Result;
use opendata_core::key::{KeyRange, successor};
use opendata_core::slate::{Access, Order, View};

use super::{Comparison, Filter, scalar, single};
use crate::document::Scalar;
use crate::idset::IdSet;
use crate::key::{Key, Keys};
use crate::record;
use crate::schema::Schema;

/// Where bitmaps are read.
#[derive(Clone, Copy)]
pub(crate) struct Bitmaps<'a> {
    pub(crate) view: &'a View,
    pub(crate) keys: Keys,
    pub(crate) schema: &'a Schema,
    /// All ids below this were given out.
    pub(crate) next_id: u64,
}

impl<'a> Bitmaps<'a> {
    /// The ids that match, dead ones among them.
    pub(crate) fn evaluate(self, filter: &'a Filter) -> BoxFuture<'a, Result<IdSet>> {
        self.of(filter).boxed()
    }

    async fn of(self, filter: &'a Filter) -> Result<IdSet> {
        match filter {
            Filter::And(all) => {
                let mut found: Option<IdSet> = None;
                for one in all {
                    let set = self.evaluate(one).await?;
                    found = Some(match found {
                        Some(found) => found.intersect(&set),
                        None => set,
                    });
                    if found.as_ref().is_some_and(|found| found.len() == 0) {
                        break;
                    }
                }
                Ok(found.unwrap_or_else(|| self.everything()))
            }
            Filter::Or(all) => {
                let mut found = IdSet::default();
                for one in all {
                    found = found.union(self.evaluate(one).await?);
                }
                Ok(found)
            }
            Filter::Not(one) => Ok(self.everything().without(&self.evaluate(one).await?)),
            Filter::Compare { attribute, comparison, value } => {
                self.compare(attribute, *comparison, &single(self.schema, attribute, value)?).await
            }
            Filter::In { attribute, values } => {
                let mut found = IdSet::default();
                for value in values {
                    let value = single(self.schema, attribute, value)?;
                    found = found.union(self.scan(self.keys.attr_value(attribute, &value).range()).await?);
                }
                Ok(found)
            }
            Filter::Prefix { attribute, beginning } => self.scan(self.keys.attr_prefix(attribute, beginning)).await,
            Filter::Contains { attribute, value } => {
                let of = self.schema.attribute_type(attribute)?;
                let value = scalar(attribute, of.element(), value)?;
                match &value {
                    Scalar::String(part) if !of.is_array() => {
                        let has_part = |key: &Key| matches!(key, Key::Attr { value: Scalar::String(own), .. } if own.contains(part));
                        self.scan_where(self.keys.attr_values(attribute), has_part).await
                    }
                    value => self.scan(self.keys.attr_value(attribute, value).range()).await,
                }
            }
            Filter::Exists { attribute } => self.scan(self.keys.all_has(attribute)).await,
        }
    }

    fn everything(self) -> IdSet {
        IdSet::range(0..self.next_id)
    }

    async fn compare(self, attribute: &str, comparison: Comparison, value: &Scalar) -> Result<IdSet> {
        let at = self.keys.attr_value(attribute, value).build();
        let behind = successor(&at).unwrap_or_else(|| at.clone());
        let all = self.keys.attr_values(attribute);
        let upto = |end| KeyRange { start: all.start.clone(), end: Bound::Excluded(end) };
        let from = |start| all.clone().starting_at(start);
        match comparison {
            Comparison::Equal => self.scan(KeyRange::prefix(&at)).await,
            Comparison::NotEqual => Ok(self.scan(upto(at)).await?.union(self.scan(from(behind)).await?)),
            Comparison::Less => self.scan(upto(at)).await,
            Comparison::LessOrEqual => self.scan(upto(behind)).await,
            Comparison::Greater => self.scan(from(behind)).await,
            Comparison::GreaterOrEqual => self.scan(from(at)).await,
        }
    }

    async fn scan(self, range: KeyRange) -> Result<IdSet> {
        self.scan_where(range, |_| true).await
    }

    async fn scan_where(self, range: KeyRange, keep: impl Fn(&Key) -> bool) -> Result<IdSet> {
        let mut found = IdSet::default();
        let mut rows = self.view.scan(range, Access::Point, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            let key = Key::decode(&row.key)?;
            if let Key::Attr { chunk, .. } | Key::Has { chunk, .. } = &key
                && keep(&key)
            {
                found.add_chunk(*chunk, record::decode_bitmap(&row.key, &row.value)?);
            }
        }
        Ok(found)
    }
}

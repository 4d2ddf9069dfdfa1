//! Checks an operation step by step and works out what it comes to, without changing anything.

use std::collections::BTreeMap;

use bytes::Bytes;
use opendata_core::slate::PrepareContext;
use opendata_core::{Error, ErrorKind, Result};

use super::{Changes, Kill, Write, Writer, WrittenVector};
use crate::document::{Document, ID_LIMIT_BYTES, Patch, STRING_LIMIT_BYTES, Value};
use crate::filter::Filter;
use crate::kernel;
use crate::op::{DELETE_LIMIT, Receipt, Refused, Step, Version};
use crate::record::{self, Stored, vector};
use crate::schema::{Metric, Schema, Storage, VectorField};
use crate::state::Snapshot;
use crate::text;

/// A document that the operation names.
struct Slot {
    /// As it was before the operation.
    before: Option<(u64, Stored)>,
    now: Now,
}

enum Now {
    /// As before.
    Untouched,
    Gone,
    Written(Box<Written>),
}

/// A document that the operation writes.
struct Written {
    id: u64,
    /// With new vectors only.
    document: Document,
    /// Vectors that keep their bytes.
    kept: BTreeMap<String, Bytes>,
}

pub(super) struct Draft<'a> {
    writer: &'a Writer,
    cx: &'a PrepareContext<'a>,
    slots: BTreeMap<Bytes, Slot>,
    unused: Vec<u64>,
    next_id: u64,
    receipt: Receipt,
}

impl<'a> Draft<'a> {
    pub(super) fn new(writer: &'a Writer, cx: &'a PrepareContext<'a>) -> Self {
        let next_id = writer.counters.next_id;
        Self { writer, cx, slots: BTreeMap::new(), unused: Vec::new(), next_id, receipt: Receipt::default() }
    }

    fn schema(&self) -> &'a Schema {
        &self.writer.published.config.schema
    }

    /// Leaves out what is wrong with one document, and reports it.
    pub(super) async fn step_or_skip(&mut self, call: usize, step: Step) -> Result<()> {
        let id = match &step {
            Step::Upsert(document) => document.id.clone(),
            Step::Patch(id, _) => id.clone(),
            _ => return self.step(step).await,
        };
        match self.step(step).await {
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => {
                let (kind, message) = (error.kind(), error.message().to_owned());
                self.receipt.refused.push(Refused { call, id, kind, message });
                Ok(())
            }
            done => done,
        }
    }

    pub(super) async fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Upsert(document) => {
                check_id(&document.id)?;
                self.load(&document.id).await?;
                self.write(document, BTreeMap::new())
            }
            Step::Patch(id, patch) => self.patch(&id, patch).await,
            Step::Delete(id) => {
                check_id(&id)?;
                self.load(&id).await?;
                self.delete(&id);
                Ok(())
            }
            Step::DeleteWhere(filter) => self.delete_where(&filter).await,
            Step::IfVersion(id, wanted) => {
                check_id(&id)?;
                let found = self.load(&id).await?.version();
                if found == wanted {
                    return Ok(());
                }
                let word =
                    |version: Option<Version>| version.map_or("none".to_owned(), |version| version.0.to_string());
                let (found, wanted) = (word(found), word(wanted));
                Err(Error::conflict(format!(
                    "version differs, document={}, version={found}, expected={wanted}",
                    name(&id)
                )))
            }
        }
    }

    /// Reads what is stored of a document, once.
    async fn load(&mut self, id: &Bytes) -> Result<&mut Slot> {
        if !self.slots.contains_key(id) {
            let before = self.stored(id).await?;
            self.slots.insert(id.clone(), Slot { before, now: Now::Untouched });
        }
        self.slots.get_mut(id).ok_or_else(|| Error::invalid("no such slot"))
    }

    async fn stored(&self, external: &[u8]) -> Result<Option<(u64, Stored)>> {
        if external > &*self.writer.last_id {
            return Ok(None);
        }
        let key = self.writer.keys.id(external);
        let Some(value) = self.cx.get(&key).await? else { return Ok(None) };
        let id = record::decode_id(&key, &value)?;
        // What the group has written is in no page yet.
        if let Some(stored) = self.writer.group.recent.get(&id) {
            return Ok(Some((id, stored.clone())));
        }
        let snapshot = Snapshot { view: self.cx.view(), keys: self.writer.keys, state: &self.writer.published };
        Ok(Some((id, Stored::clone(&*snapshot.stored(id).await?))))
    }

    /// A vector of a stored document.
    async fn stored_vector(&self, name: &str, id: u64) -> Result<Bytes> {
        let own = self.writer.group.vectors.get(name).and_then(|vectors| vectors.get(&id));
        if let Some(Some(value)) = own {
            return Ok(value.clone());
        }
        let snapshot = Snapshot { view: self.cx.view(), keys: self.writer.keys, state: &self.writer.published };
        let (key, value) = snapshot.vector_bytes(name, self.schema().vector_field(name)?, id).await?;
        let value = value.ok_or_else(|| Error::corrupt_at(&key, "vector is missing"))?;
        Ok(Bytes::copy_from_slice(&value))
    }

    async fn patch(&mut self, id: &Bytes, patch: Patch) -> Result<()> {
        check_id(id)?;
        let slot = self.load(id).await?;
        let (mut document, mut kept) = match &slot.now {
            Now::Written(written) => (written.document.clone(), written.kept.clone()),
            Now::Untouched if slot.before.is_some() => {
                let (internal, stored) = slot.before.clone().unwrap_or_default();
                let mut kept = BTreeMap::new();
                for field in &stored.vectors {
                    kept.insert(field.clone(), self.stored_vector(field, internal).await?);
                }
                (stored.document(), kept)
            }
            _ => return Err(Error::not_found(format!("no such document, document={}", name(id)))),
        };
        kept.retain(|field, _| !patch.vectors.contains_key(field));
        for field in patch.vectors.keys() {
            self.schema().vector_field(field).map_err(|error| at(error, id))?;
        }
        patch.apply(&mut document);
        self.write(document, kept)
    }

    fn write(&mut self, document: Document, kept: BTreeMap<String, Bytes>) -> Result<()> {
        let config = &self.writer.published.config;
        let size = document.size_bytes() + kept.values().map(Bytes::len).sum::<usize>();
        if size > config.max_document_bytes as usize {
            return Err(Error::invalid(format!(
                "document too large, document={}, size_bytes={size}, limit={}",
                name(&document.id),
                config.max_document_bytes
            )));
        }
        check(self.schema(), &document).map_err(|error| at(error, &document.id))?;
        // Only now, so that what is refused takes no id.
        let id = self.next_id;
        self.next_id += 1;
        self.receipt.versions.push((document.id.clone(), Version(id)));
        let slot = self.slots.get_mut(&document.id);
        if let Some(slot) = slot {
            let now = Now::Written(Box::new(Written { id, document, kept }));
            if let Now::Written(replaced) = std::mem::replace(&mut slot.now, now) {
                self.unused.push(replaced.id);
            }
        }
        Ok(())
    }

    fn delete(&mut self, id: &Bytes) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.version().is_some() {
            self.receipt.deleted += 1;
        }
        if let Now::Written(replaced) = std::mem::replace(&mut slot.now, Now::Gone) {
            self.unused.push(replaced.id);
        }
    }

    /// Looks at the documents of the view, those that earlier transactions of the group wrote, and those that
    /// this operation has written so far.
    async fn delete_where(&mut self, filter: &Filter) -> Result<()> {
        let snapshot = Snapshot { view: self.cx.view(), keys: self.writer.keys, state: &self.writer.published };
        let found = snapshot.matching(filter).await?.without(&self.writer.dead);
        let mut victims = Vec::new();
        for stored in self.writer.group.recent.values() {
            if filter.matches(self.schema(), stored)? {
                victims.push(stored.external.clone());
            }
        }
        if found.len() + victims.len() as u64 > DELETE_LIMIT {
            return Err(Error::invalid(format!(
                "filter matches more documents than one transaction may delete, matches={}, limit={DELETE_LIMIT}",
                found.len()
            )));
        }
        for id in found.iter() {
            victims.push(snapshot.stored(id).await?.external.clone());
        }
        // What this operation has touched is judged by how it has left it.
        let mut touched = Vec::new();
        for (id, slot) in &self.slots {
            if let Now::Written(written) = &slot.now {
                let stored = Stored { attributes: written.document.attributes.clone(), ..Stored::default() };
                if filter.matches(self.schema(), &stored)? {
                    touched.push(id.clone());
                }
            }
        }
        victims.retain(|id| self.slots.get(id).is_none_or(|slot| matches!(slot.now, Now::Untouched)));
        for id in victims.into_iter().chain(touched) {
            self.load(&id).await?;
            self.delete(&id);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Changes> {
        let mut changes =
            Changes { unused: self.unused, next_id: self.next_id, receipt: self.receipt, ..Changes::default() };
        let schema = &self.writer.published.config.schema;
        for (_, slot) in self.slots {
            let gone = matches!(slot.now, Now::Gone);
            if let (Some((id, stored)), false) = (slot.before, matches!(slot.now, Now::Untouched)) {
                changes.kills.push(Kill { id, stored, gone });
            }
            if let Now::Written(written) = slot.now {
                changes.writes.push(written.finish(schema)?);
            }
        }
        changes.writes.sort_by_key(|write| write.id);
        Ok(changes)
    }
}

impl Slot {
    fn version(&self) -> Option<Version> {
        match &self.now {
            Now::Untouched => self.before.as_ref().map(|(id, _)| Version(*id)),
            Now::Gone => None,
            Now::Written(written) => Some(Version(written.id)),
        }
    }
}

impl Written {
    fn finish(self, schema: &Schema) -> Result<Write> {
        let Self { id, document, kept } = self;
        let kept = kept.into_iter().map(|(field, value)| WrittenVector { field, value, components: None });
        let mut vectors: Vec<WrittenVector> = kept.collect();
        for (field, components) in document.vectors {
            let storage = schema.vector_field(&field)?.storage;
            let value = vector::encode(storage, &components);
            let components = (storage == Storage::F32).then_some(components);
            vectors.push(WrittenVector { field, value, components });
        }
        vectors.sort_by(|a, b| a.field.cmp(&b.field));
        let mut words = Vec::new();
        let mut texts = BTreeMap::new();
        for (field, value) in document.texts {
            let found = text::words(schema.text_field(&field)?, &value);
            texts.insert(field.clone(), (found.len() as u64, value));
            words.push((field, found));
        }
        let sparse = document.sparse.into_iter().map(|(field, vector)| Ok((field, vector.entries()?)));
        let stored = Stored {
            sparse: sparse.collect::<Result<_>>()?,
            external: document.id,
            vectors: vectors.iter().map(|vector| vector.field.clone()).collect(),
            attributes: document.attributes,
            texts,
        };
        Ok(Write { id, stored, words, vectors })
    }
}

fn check_id(id: &[u8]) -> Result<()> {
    if id.is_empty() || id.len() > ID_LIMIT_BYTES {
        let size = id.len();
        return Err(Error::invalid(format!(
            "id of a document is 1 to {ID_LIMIT_BYTES} bytes, document={}, size_bytes={size}",
            name(id)
        )));
    }
    Ok(())
}

/// Checks a document against the schema.
fn check(schema: &Schema, document: &Document) -> Result<()> {
    for (name, vector) in &document.vectors {
        check_vector(name, schema.vector_field(name)?, vector)?;
    }
    for (name, vector) in &document.sparse {
        schema.sparse_field(name)?;
        vector.entries().map_err(|error| error.context(format_args!("field {name}")))?;
    }
    for (name, value) in &document.attributes {
        let of = schema.attribute_type(name)?;
        if !Schema::fits(of, value) {
            let found = value.attribute_type();
            return Err(Error::invalid(format!("wrong type, attribute={name}, type={found:?}, expected={of:?}")));
        }
        let too_long = |text: &String| text.len() > STRING_LIMIT_BYTES;
        let (is_long, is_nan) = match value {
            Value::String(text) => (too_long(text), false),
            Value::Strings(all) => (all.iter().any(too_long), false),
            Value::F64(number) => (false, number.is_nan()),
            Value::F64s(all) => (false, all.iter().any(|number| number.is_nan())),
            _ => (false, false),
        };
        if is_long {
            return Err(Error::invalid(format!("string too long, attribute={name}, limit_bytes={STRING_LIMIT_BYTES}")));
        }
        if is_nan {
            return Err(Error::invalid(format!("not a number, attribute={name}")));
        }
    }
    document.texts.keys().try_for_each(|name| schema.text_field(name).map(|_| ()))
}

fn check_vector(name: &str, field: VectorField, components: &[f32]) -> Result<()> {
    if components.len() != field.dims as usize {
        let found = components.len();
        return Err(Error::invalid(format!(
            "wrong number of dimensions, field={name}, dims={found}, expected={}",
            field.dims
        )));
    }
    if let Some(at) = components.iter().position(|c| !c.is_finite()) {
        return Err(Error::invalid(format!("not a finite number, field={name}, dimension={at}")));
    }
    let squared = if field.storage == Storage::F32 {
        kernel::dot(components, components)
    } else {
        let mut stored = Vec::with_capacity(components.len());
        vector::decode(b"", &vector::encode(field.storage, components), field.dims, &mut stored)?;
        kernel::dot(&stored, &stored)
    };
    if !squared.is_finite() {
        return Err(Error::invalid(format!("component too large, field={name}, storage={:?}", field.storage)));
    }
    if field.metric == Metric::Cosine && squared <= f32::MIN_POSITIVE {
        return Err(Error::invalid(format!("vector of length zero has no direction, field={name}")));
    }
    Ok(())
}

fn at(error: Error, id: &[u8]) -> Error {
    error.context(format_args!("document {}", name(id)))
}

/// An id as it is shown: its first 64 bytes.
fn name(id: &[u8]) -> impl std::fmt::Display {
    id.get(..64).unwrap_or(id).escape_ascii().to_string()
}

//! Values of a vector instance's records. Each begins with a layout byte; corrupt bytes are an error that names the key.
//!
//! ```text
//! ID        layout 1 | internal id varint
//! DOC       layout 2 | external id bytes
//!           vectors: count varint, for each: field bytes
//!           attributes: count varint, for each: name bytes | value
//!           texts: count varint, for each: field bytes | words varint | text bytes
//!           sparse vectors: count varint, for each: field bytes | weights varint, for each: index u32 | weight f32
//! value     type u8 | bool u8, i64 signed, f64, string bytes, timestamp signed; an array: count varint, then each
//! COUNTERS  layout 1 | next internal id varint | live documents varint
//!           vectors: count varint, for each field: name bytes | live vectors varint
//!           texts: count varint, for each field: name bytes | live documents varint | their words varint
//! SWEEP     layout 1 | dead ids at its beginning varint | pieces of all sweeps varint | where it goes on, a key, bytes; empty: it is done, cells too, and what was dead is forgotten
//! bitmap    layout 1 | Roaring bitmap of the low 16 bits of ids, portable format          (DEAD, GONE, ATTR, HAS)
//! ```
//!
//! The types of values are those of `AttributeType` in its order, from 1.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result, Timestamp};
use roaring::RoaringBitmap;

use crate::document::{Document, Value};
use crate::sparse;

pub(crate) mod column;
pub(crate) mod page;
pub(crate) mod vector;

const LAYOUT: u8 = 1;
/// Of documents, since they have sparse vectors.
const DOC_LAYOUT: u8 = 2;

fn read<'a, T>(key: &[u8], value: &'a [u8], fields: impl FnOnce(&mut Decoder<'a>) -> Result<T>) -> Result<T> {
    read_layout(LAYOUT, key, value, fields)
}

fn read_layout<'a, T>(
    layout: u8,
    key: &[u8],
    value: &'a [u8],
    fields: impl FnOnce(&mut Decoder<'a>) -> Result<T>,
) -> Result<T> {
    let mut decoder = Decoder::new(value);
    let parse = |decoder: &mut Decoder<'a>| {
        decoder.layout(layout)?;
        fields(decoder)
    };
    let decoded = parse(&mut decoder).and_then(|decoded| decoder.finish().map(|()| decoded));
    decoded.map_err(|error| Error::corrupt_at(key, error))
}

fn text(decoder: &mut Decoder<'_>) -> Result<String> {
    let bytes = decoder.bytes()?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::corrupt("not UTF-8"))
}

/// As a slice of a buffer that many share.
pub(crate) fn encode_id(id: u64, buffer: &mut BytesMut) -> Bytes {
    let mut value = Encoder::with_capacity(LAYOUT, 11);
    value.varint(id);
    buffer.extend_from_slice(value.as_slice());
    buffer.split().freeze()
}

pub(crate) fn decode_id(key: &[u8], value: &[u8]) -> Result<u64> {
    read(key, value, Decoder::varint)
}

/// A document without the components of its vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stored {
    pub(crate) external: Bytes,
    pub(crate) vectors: Vec<String>,
    pub(crate) attributes: BTreeMap<String, Value>,
    /// The number of words that were indexed, and the text.
    pub(crate) texts: BTreeMap<String, (u64, String)>,
    /// Weights in the order of the dimensions.
    pub(crate) sparse: BTreeMap<String, Vec<(u32, f32)>>,
}

impl Stored {
    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(DOC_LAYOUT, self.external.len() + 128);
        value.bytes(&self.external).varint(self.vectors.len() as u64);
        for field in &self.vectors {
            value.bytes(field.as_bytes());
        }
        value.varint(self.attributes.len() as u64);
        for (name, attribute) in &self.attributes {
            value.bytes(name.as_bytes());
            encode_value(&mut value, attribute);
        }
        value.varint(self.texts.len() as u64);
        for (field, (words, text)) in &self.texts {
            value.bytes(field.as_bytes()).varint(*words).bytes(text.as_bytes());
        }
        value.varint(self.sparse.len() as u64);
        for (field, entries) in &self.sparse {
            value.bytes(field.as_bytes()).varint(entries.len() as u64);
            for (index, weight) in entries {
                value.u32(*index);
                sparse::write(*weight, &mut value);
            }
        }
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        read_layout(DOC_LAYOUT, key, value, |fields| {
            let mut stored = Self { external: Bytes::copy_from_slice(fields.bytes()?), ..Self::default() };
            for _ in 0..fields.count()? {
                stored.vectors.push(text(fields)?);
            }
            for _ in 0..fields.count()? {
                stored.attributes.insert(text(fields)?, decode_value(fields)?);
            }
            for _ in 0..fields.count()? {
                stored.texts.insert(text(fields)?, (fields.varint()?, text(fields)?));
            }
            for _ in 0..fields.count()? {
                let field = text(fields)?;
                let entries = (0..fields.count()?).map(|_| Ok((fields.u32()?, sparse::read(fields)?)));
                stored.sparse.insert(field, entries.collect::<Result<_>>()?);
            }
            Ok(stored)
        })
    }

    /// A copy with some of the attributes and texts, and with some of the vectors.
    pub(crate) fn selected(&self, wants: impl Fn(&str) -> bool, wants_vector: impl Fn(&str) -> bool) -> Self {
        fn some<T: Clone>(of: &BTreeMap<String, T>, wants: impl Fn(&str) -> bool) -> BTreeMap<String, T> {
            of.iter().filter(|(name, _)| wants(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        Self {
            external: self.external.clone(),
            vectors: self.vectors.iter().filter(|name| wants_vector(name)).cloned().collect(),
            attributes: some(&self.attributes, &wants),
            texts: some(&self.texts, &wants),
            sparse: some(&self.sparse, &wants_vector),
        }
    }

    /// Whether it has a row of its own.
    pub(crate) fn is_large(encoded: &[u8]) -> bool {
        encoded.len() > page::LARGE_BYTES
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.size_bytes() + 96);
        let texts = self.texts.iter().map(|(name, (_, text))| name.len() + text.len() + 96);
        128 + self.external.len() + self.vectors.len() * 32 + attributes.sum::<usize>() + texts.sum::<usize>()
    }

    /// The document, with no vectors yet.
    pub(crate) fn document(self) -> Document {
        let texts = self.texts.into_iter().map(|(field, (_, text))| (field, text)).collect();
        let sparse = self.sparse.into_iter().map(|(field, entries)| (field, entries.into_iter().collect())).collect();
        Document { id: self.external, vectors: BTreeMap::new(), sparse, attributes: self.attributes, texts }
    }
}

fn encode_value(to: &mut Encoder, value: &Value) {
    match value {
        Value::Bool(v) => _ = to.u8(1).u8((*v).into()),
        Value::I64(v) => _ = to.u8(2).signed(*v),
        Value::F64(v) => _ = to.u8(3).f64(*v),
        Value::String(v) => _ = to.u8(4).bytes(v.as_bytes()),
        Value::Timestamp(v) => _ = to.u8(5).signed(v.0),
        Value::Bools(all) => {
            to.u8(6).varint(all.len() as u64);
            all.iter().for_each(|v| _ = to.u8((*v).into()));
        }
        Value::I64s(all) => {
            to.u8(7).varint(all.len() as u64);
            all.iter().for_each(|v| _ = to.signed(*v));
        }
        Value::F64s(all) => {
            to.u8(8).varint(all.len() as u64);
            all.iter().for_each(|v| _ = to.f64(*v));
        }
        Value::Strings(all) => {
            to.u8(9).varint(all.len() as u64);
            all.iter().for_each(|v| _ = to.bytes(v.as_bytes()));
        }
        Value::Timestamps(all) => {
            to.u8(10).varint(all.len() as u64);
            all.iter().for_each(|v| _ = to.signed(v.0));
        }
    }
}

fn decode_value(fields: &mut Decoder<'_>) -> Result<Value> {
    fn bool(fields: &mut Decoder<'_>) -> Result<bool> {
        match fields.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::corrupt("neither true nor false")),
        }
    }
    fn all<T>(fields: &mut Decoder<'_>, mut one: impl FnMut(&mut Decoder<'_>) -> Result<T>) -> Result<Vec<T>> {
        (0..fields.count()?).map(|_| one(fields)).collect()
    }
    Ok(match fields.u8()? {
        1 => Value::Bool(bool(fields)?),
        2 => Value::I64(fields.signed()?),
        3 => Value::F64(fields.f64()?),
        4 => Value::String(text(fields)?),
        5 => Value::Timestamp(Timestamp(fields.signed()?)),
        6 => Value::Bools(all(fields, bool)?),
        7 => Value::I64s(all(fields, |fields| fields.signed())?),
        8 => Value::F64s(all(fields, |fields| fields.f64())?),
        9 => Value::Strings(all(fields, text)?),
        10 => Value::Timestamps(all(fields, |fields| fields.signed().map(Timestamp))?),
        _ => return Err(Error::corrupt("unknown type of a value")),
    })
}

/// What an instance counts. Written with every group of commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) next_id: u64,
    pub(crate) live: u64,
    /// Live vectors of each field.
    pub(crate) vectors: BTreeMap<String, u64>,
    /// Live documents of each text field, and the words in them.
    pub(crate) texts: BTreeMap<String, (u64, u64)>,
}

impl Counters {
    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.next_id).varint(self.live).varint(self.vectors.len() as u64);
        for (field, live) in &self.vectors {
            value.bytes(field.as_bytes()).varint(*live);
        }
        value.varint(self.texts.len() as u64);
        for (field, (live, words)) in &self.texts {
            value.bytes(field.as_bytes()).varint(*live).varint(*words);
        }
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        read(key, value, |fields| {
            let mut counters = Self { next_id: fields.varint()?, live: fields.varint()?, ..Self::default() };
            for _ in 0..fields.count()? {
                counters.vectors.insert(text(fields)?, fields.varint()?);
            }
            for _ in 0..fields.count()? {
                counters.texts.insert(text(fields)?, (fields.varint()?, fields.varint()?));
            }
            Ok(counters)
        })
    }

    /// Counts a document in.
    pub(crate) fn add(&mut self, stored: &Stored) {
        self.live += 1;
        for field in &stored.vectors {
            match self.vectors.get_mut(field) {
                Some(live) => *live += 1,
                None => _ = self.vectors.insert(field.clone(), 1),
            }
        }
        for (field, (words, _)) in &stored.texts {
            let (documents, total) = self.texts.entry(field.clone()).or_default();
            (*documents, *total) = (*documents + 1, *total + words);
        }
    }

    /// Counts a document out.
    pub(crate) fn remove(&mut self, stored: &Stored) {
        self.live = self.live.saturating_sub(1);
        for field in &stored.vectors {
            let live = self.vectors.entry(field.clone()).or_default();
            *live = live.saturating_sub(1);
        }
        for (field, (words, _)) in &stored.texts {
            let (documents, total) = self.texts.entry(field.clone()).or_default();
            (*documents, *total) = (documents.saturating_sub(1), total.saturating_sub(*words));
        }
    }
}

/// How far the removal of dead ids has come: first from attributes and terms, then from cells, then from the set of dead ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Dead ids of closed chunks when it began; once it is done, those that are left.
    pub(crate) dead: u64,
    /// Pieces of all sweeps so far.
    pub(crate) pieces: u64,
    /// The key it goes on at, behind all of them while cells are purged; none: it is done.
    pub(crate) next: Option<Bytes>,
}

impl Sweep {
    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.dead).varint(self.pieces).bytes(self.next.as_deref().unwrap_or_default());
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        read(key, value, |fields| {
            let (dead, pieces, next) = (fields.varint()?, fields.varint()?, fields.bytes()?);
            Ok(Self { dead, pieces, next: (!next.is_empty()).then(|| Bytes::copy_from_slice(next)) })
        })
    }
}

pub(crate) fn encode_bitmap(bitmap: &RoaringBitmap) -> Bytes {
    let mut value = Vec::with_capacity(1 + bitmap.serialized_size());
    value.push(LAYOUT);
    // Writing to a vector does not fail.
    let _ = bitmap.serialize_into(&mut value);
    value.into()
}

pub(crate) fn decode_bitmap(key: &[u8], value: &[u8]) -> Result<RoaringBitmap> {
    let Some((&LAYOUT, bytes)) = value.split_first() else {
        return Err(Error::corrupt_at(key, "unknown layout of a bitmap"));
    };
    let bitmap = RoaringBitmap::deserialize_from(bytes)
        .map_err(|error| Error::corrupt_at(key, "not a bitmap").with_source(error))?;
    if bitmap.max().is_some_and(|max| max > 0xffff) || bitmap.serialized_size() != bytes.len() {
        return Err(Error::corrupt_at(key, "bitmap reaches beyond its chunk"));
    }
    Ok(bitmap)
}

/// The union of bitmaps.
pub(crate) fn merge_bitmaps(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut union = RoaringBitmap::new();
    for value in values {
        union |= decode_bitmap(key, value)?;
    }
    union.optimize();
    Ok(encode_bitmap(&union))
}

#[cfg(test)]
mod tests;

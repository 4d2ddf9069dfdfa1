//! Keys of a vector instance's records.
//!
//! ```text
//! control segment
//! 0x10 COUNTERS                                            counters
//! 0x11 TABLE    vector field, terminated                   the cells of one field
//! 0x12 DEAD     chunk u48                                  ids of documents that were replaced or deleted
//! 0x13 SWEEP                                               how far dead ids were removed from attributes and terms
//! 0x14 CALIBRATION vector field, terminated                how far searches must look
//! 0x15 GONE     chunk u48                                  dead ids that no index has any more
//! data segment 1: documents
//! 0x20 ID       external id raw                            -> internal id, version
//! 0x21 DOC      internal id u64                            the document without its vectors, if it is large
//! 0x22 VEC      vector field, terminated | page u64        vectors of neighbouring internal ids
//! 0x23 DOCS     page u64                                   documents of neighbouring internal ids
//! data segment 2: indexes
//! 0x30 CENTROID vector field, terminated | cell u32        the middle of a cell
//! 0x31 CELL     vector field, terminated | cell u32        ids and codes
//! 0x32 ATTR     attribute, terminated | value | chunk u48  ids of documents with this value
//! 0x33 HAS      attribute, terminated | chunk u48          ids of documents that have the attribute
//! 0x34 TERM     text field, terminated | term, terminated | chunk u48   postings
//! 0x35 NUM      attribute, terminated | chunk u48          numbers of the attribute with ids of documents
//! 0x36 SPARSE   sparse field, terminated | dimension u32 | chunk u48   postings
//! value: 0x01 u8 | 0x02 i64 | 0x03 f64 | 0x04 string, terminated
//! ```
//!
//! Truth values and strings stand in ATTR, a row each. Numbers and timestamps stand in NUM, so 0x02 and 0x03 are not written.
//!
//! Internal ids grow by one with each version of a document that is written; a chunk is 65,536 of them.

use bytes::{Bytes, BytesMut};
use opendata_core::key::{KeyBuilder, KeyRange, KeyReader, Prefix, SegmentId, Tag};
use opendata_core::{Error, Result};

use crate::document::Scalar;

/// Documents and their vectors.
pub(crate) const DOCUMENTS: SegmentId = SegmentId(1);
/// Everything that is found by searching.
pub(crate) const INDEXES: SegmentId = SegmentId(2);

const COUNTERS: Tag = Tag(0x10);
const TABLE: Tag = Tag(0x11);
const DEAD: Tag = Tag(0x12);
const SWEEP: Tag = Tag(0x13);
const CALIBRATION: Tag = Tag(0x14);
const GONE: Tag = Tag(0x15);
const ID: Tag = Tag(0x20);
const DOC: Tag = Tag(0x21);
const VEC: Tag = Tag(0x22);
const DOCS: Tag = Tag(0x23);
const CENTROID: Tag = Tag(0x30);
const CELL: Tag = Tag(0x31);
const ATTR: Tag = Tag(0x32);
const HAS: Tag = Tag(0x33);
const TERM: Tag = Tag(0x34);
const NUM: Tag = Tag(0x35);
const SPARSE: Tag = Tag(0x36);

/// The keys of one instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys(pub(crate) Prefix);

/// A key of a vector instance, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Counters,
    Table(String),
    Dead(u64),
    Gone(u64),
    Sweep,
    Calibration(String),
    Id(Bytes),
    Doc(u64),
    Vec { field: String, page: u64 },
    Docs(u64),
    Centroid { field: String, cell: u32 },
    Cell { field: String, cell: u32 },
    Attr { name: String, value: Scalar, chunk: u64 },
    Has { name: String, chunk: u64 },
    Term { field: String, term: String, chunk: u64 },
    Num { name: String, chunk: u64 },
    Sparse { field: String, dimension: u32, chunk: u64 },
}

impl Key {
    pub(crate) fn decode(key: &[u8]) -> Result<Self> {
        let (prefix, tag, mut fields) = KeyReader::new(key)?;
        let decoded = match (prefix.segment, tag) {
            (SegmentId::CONTROL, COUNTERS) => Self::Counters,
            (SegmentId::CONTROL, SWEEP) => Self::Sweep,
            (SegmentId::CONTROL, TABLE) => Self::Table(text(key, &mut fields)?),
            (SegmentId::CONTROL, CALIBRATION) => Self::Calibration(text(key, &mut fields)?),
            (SegmentId::CONTROL, DEAD) => Self::Dead(chunk(&mut fields)?),
            (SegmentId::CONTROL, GONE) => Self::Gone(chunk(&mut fields)?),
            (DOCUMENTS, ID) => return Ok(Self::Id(Bytes::copy_from_slice(fields.rest()))),
            (DOCUMENTS, DOC) => Self::Doc(fields.u64()?),
            (DOCUMENTS, VEC) => Self::Vec { field: text(key, &mut fields)?, page: fields.u64()? },
            (DOCUMENTS, DOCS) => Self::Docs(fields.u64()?),
            (INDEXES, CENTROID) => Self::Centroid { field: text(key, &mut fields)?, cell: fields.u32()? },
            (INDEXES, CELL) => Self::Cell { field: text(key, &mut fields)?, cell: fields.u32()? },
            (INDEXES, ATTR) => {
                let name = text(key, &mut fields)?;
                let value = match fields.u8()? {
                    1 => Scalar::Bool(fields.u8()? != 0),
                    2 => Scalar::I64(fields.i64()?),
                    3 => Scalar::F64(fields.f64()?),
                    4 => Scalar::String(text(key, &mut fields)?),
                    _ => return Err(Error::corrupt_at(key, "unknown type of a value")),
                };
                Self::Attr { name, value, chunk: chunk(&mut fields)? }
            }
            (INDEXES, NUM) => Self::Num { name: text(key, &mut fields)?, chunk: chunk(&mut fields)? },
            (INDEXES, HAS) => Self::Has { name: text(key, &mut fields)?, chunk: chunk(&mut fields)? },
            (INDEXES, TERM) => {
                let (field, term) = (text(key, &mut fields)?, text(key, &mut fields)?);
                Self::Term { field, term, chunk: chunk(&mut fields)? }
            }
            (INDEXES, SPARSE) => {
                Self::Sparse { field: text(key, &mut fields)?, dimension: fields.u32()?, chunk: chunk(&mut fields)? }
            }
            _ => return Err(Error::corrupt_at(key, "unknown tag of a vector instance")),
        };
        fields.finish()?;
        Ok(decoded)
    }
}

fn text(key: &[u8], fields: &mut KeyReader<'_>) -> Result<String> {
    String::from_utf8(fields.terminated()?).map_err(|_| Error::corrupt_at(key, "not UTF-8"))
}

fn chunk(fields: &mut KeyReader<'_>) -> Result<u64> {
    Ok(u64::from(fields.u16()?) << 32 | u64::from(fields.u32()?))
}

trait ChunkField {
    fn chunk(self, chunk: u64) -> Self;
}

impl ChunkField for KeyBuilder {
    fn chunk(self, chunk: u64) -> Self {
        self.u16((chunk >> 32) as u16).u32(chunk as u32)
    }
}

impl Keys {
    fn control(self, tag: Tag) -> KeyBuilder {
        self.0.in_segment(SegmentId::CONTROL).key(tag)
    }

    fn document(self, tag: Tag) -> KeyBuilder {
        self.0.in_segment(DOCUMENTS).key(tag)
    }

    fn index(self, tag: Tag) -> KeyBuilder {
        self.0.in_segment(INDEXES).key(tag)
    }

    pub(crate) fn counters(self) -> Bytes {
        self.control(COUNTERS).build()
    }

    pub(crate) fn sweep(self) -> Bytes {
        self.control(SWEEP).build()
    }

    pub(crate) fn table(self, field: &str) -> Bytes {
        self.control(TABLE).terminated(field.as_bytes()).build()
    }

    pub(crate) fn calibration(self, field: &str) -> Bytes {
        self.control(CALIBRATION).terminated(field.as_bytes()).build()
    }

    pub(crate) fn dead(self, chunk: u64) -> Bytes {
        self.control(DEAD).chunk(chunk).build()
    }

    pub(crate) fn all_dead(self) -> KeyRange {
        self.control(DEAD).range()
    }

    pub(crate) fn gone(self, chunk: u64) -> Bytes {
        self.control(GONE).chunk(chunk).build()
    }

    pub(crate) fn all_gone(self) -> KeyRange {
        self.control(GONE).range()
    }

    pub(crate) fn id(self, external: &[u8]) -> Bytes {
        self.document(ID).raw(external).build()
    }

    /// The same, as a slice of a buffer.
    pub(crate) fn id_in(self, external: &[u8], buffer: &mut BytesMut) -> Bytes {
        self.0.in_segment(DOCUMENTS).key_in(ID, buffer).raw(external).build_in(buffer)
    }

    pub(crate) fn ids(self) -> KeyRange {
        self.document(ID).range()
    }

    pub(crate) fn doc(self, id: u64) -> Bytes {
        self.document(DOC).u64(id).build()
    }

    /// All pages of documents.
    pub(crate) fn all_docs(self) -> KeyRange {
        self.document(DOCS).range()
    }

    pub(crate) fn vec_page(self, field: &str, page: u64) -> Bytes {
        self.document(VEC).terminated(field.as_bytes()).u64(page).build()
    }

    /// The pages of vectors of a field from one on, up to another, excluded.
    pub(crate) fn vec_pages(self, field: &str, from: u64, to: u64) -> KeyRange {
        KeyRange::between(self.vec_page(field, from), self.vec_page(field, to))
    }

    pub(crate) fn docs(self, page: u64) -> Bytes {
        self.document(DOCS).u64(page).build()
    }

    pub(crate) fn centroid(self, field: &str, cell: u32) -> Bytes {
        self.index(CENTROID).terminated(field.as_bytes()).u32(cell).build()
    }

    /// The centroids of a field, those of cells that take the place of others among them.
    pub(crate) fn all_centroids(self, field: &str) -> KeyRange {
        self.index(CENTROID).terminated(field.as_bytes()).range()
    }

    /// The centroids of a field from one to another, both included.
    pub(crate) fn some_centroids(self, field: &str, first: u32, last: u32) -> KeyRange {
        let end = last.checked_add(1).map_or_else(|| self.cell(field, 0), |end| self.centroid(field, end));
        KeyRange::between(self.centroid(field, first), end)
    }

    pub(crate) fn cell(self, field: &str, cell: u32) -> Bytes {
        self.index(CELL).terminated(field.as_bytes()).u32(cell).build()
    }

    /// The cells of a field from one to another, both included.
    pub(crate) fn cells(self, field: &str, first: u32, last: u32) -> KeyRange {
        let end = last.checked_add(1).map_or_else(|| self.cell(field, last), |end| self.cell(field, end));
        KeyRange::between(self.cell(field, first), end)
    }

    pub(crate) fn attr(self, name: &str, value: &Scalar, chunk: u64) -> Bytes {
        self.attr_value(name, value).chunk(chunk).build()
    }

    /// The beginning of all keys of one value.
    pub(crate) fn attr_value(self, name: &str, value: &Scalar) -> KeyBuilder {
        let key = self.index(ATTR).terminated(name.as_bytes());
        match value {
            Scalar::Bool(value) => key.u8(1).u8((*value).into()),
            Scalar::I64(value) => key.u8(2).i64(*value),
            Scalar::F64(value) => key.u8(3).f64(*value),
            Scalar::String(value) => key.u8(4).terminated(value.as_bytes()),
        }
    }

    /// All values of an attribute.
    pub(crate) fn attr_values(self, name: &str) -> KeyRange {
        self.index(ATTR).terminated(name.as_bytes()).range()
    }

    /// All strings of an attribute that begin so.
    pub(crate) fn attr_prefix(self, name: &str, beginning: &str) -> KeyRange {
        self.index(ATTR).terminated(name.as_bytes()).u8(4).beginning(beginning.as_bytes()).range()
    }

    pub(crate) fn has(self, name: &str, chunk: u64) -> Bytes {
        self.index(HAS).terminated(name.as_bytes()).chunk(chunk).build()
    }

    /// The numbers of an attribute in a chunk.
    pub(crate) fn num(self, name: &str, chunk: u64) -> Bytes {
        self.index(NUM).terminated(name.as_bytes()).chunk(chunk).build()
    }

    pub(crate) fn all_num(self, name: &str) -> KeyRange {
        self.index(NUM).terminated(name.as_bytes()).range()
    }

    pub(crate) fn all_has(self, name: &str) -> KeyRange {
        self.index(HAS).terminated(name.as_bytes()).range()
    }

    pub(crate) fn term(self, field: &str, term: &str, chunk: u64) -> Bytes {
        self.index(TERM).terminated(field.as_bytes()).terminated(term.as_bytes()).chunk(chunk).build()
    }

    pub(crate) fn term_chunks(self, field: &str, term: &str) -> KeyRange {
        self.index(TERM).terminated(field.as_bytes()).terminated(term.as_bytes()).range()
    }

    pub(crate) fn sparse(self, field: &str, dimension: u32, chunk: u64) -> Bytes {
        self.index(SPARSE).terminated(field.as_bytes()).u32(dimension).chunk(chunk).build()
    }

    pub(crate) fn sparse_chunks(self, field: &str, dimension: u32) -> KeyRange {
        self.index(SPARSE).terminated(field.as_bytes()).u32(dimension).range()
    }

    /// Everything that holds ids by chunk, from a key on: attributes, terms, numbers and sparse vectors.
    pub(crate) fn swept(self, from: Option<&[u8]>) -> KeyRange {
        let first = self.index(ATTR).build();
        let from = from.map_or(first, Bytes::copy_from_slice);
        KeyRange::between(from, self.swept_end())
    }

    /// Behind everything that is swept.
    pub(crate) fn swept_end(self) -> Bytes {
        self.index(Tag(SPARSE.0 + 1)).build()
    }
}

#[cfg(test)]
mod tests;

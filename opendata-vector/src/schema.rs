//! The schema of an instance: its named fields, and what a value must be to stand in one.
//!
//! It is stored with the instance and enforced on every write. It may only grow: a field keeps its name, type and
//! settings for ever, and new fields may be added. Names stand in the keys, so no field is ever renumbered.

use std::collections::BTreeMap;

use opendata_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document::Value;

/// Longest name of a field, in bytes.
pub const FIELD_NAME_LIMIT_BYTES: usize = 64;
/// Most dimensions of a vector.
pub const DIMENSIONS_LIMIT: u32 = 4096;

/// A document's own id stands beside its fields wherever documents are written out.
const RESERVED_NAME: &str = "id";

/// How near two vectors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Euclidean distance. The score is the squared distance, negated.
    L2,
    /// The cosine of the angle. A vector of length zero is refused.
    #[default]
    Cosine,
    /// The inner product.
    InnerProduct,
}

/// How a vector is stored. What is stored is what is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Four bytes a dimension, as given.
    #[default]
    F32,
    /// Two bytes a dimension: IEEE 754 half precision. A component beyond its range is refused.
    F16,
    /// One byte a dimension, and one scale a vector: the largest component becomes 127.
    Int8,
}

/// A field of dense vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorField {
    /// Number of components of each vector, 1 to 4,096 ([`DIMENSIONS_LIMIT`]).
    pub dims: u32,
    /// How near two vectors are.
    #[serde(default)]
    pub metric: Metric,
    /// How vectors are stored.
    #[serde(default)]
    pub storage: Storage,
}

impl VectorField {
    /// A field of `dims` components, stored as 32-bit floats.
    #[must_use]
    pub fn new(dims: u32, metric: Metric) -> Self {
        Self { dims, metric, storage: Storage::F32 }
    }

    /// Internal ids whose vectors stand in one page: as many as fit into about four kilobytes, so that one vector is not read with
    /// many that nobody asked for.
    pub(crate) fn page_ids(self) -> u64 {
        /// More save nothing any more.
        const MOST: u32 = 64;
        let fit = (4096 / self.dims.max(1).saturating_mul(4)).clamp(1, MOST);
        1 << fit.ilog2()
    }

    /// The same field, stored in another way.
    #[must_use]
    pub fn stored_as(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    /// True or false.
    Bool,
    /// A signed 64-bit integer.
    I64,
    /// A 64-bit float that is a number.
    F64,
    /// Text of at most 1 KiB ([`crate::STRING_LIMIT_BYTES`]).
    String,
    /// Milliseconds since the Unix epoch.
    Timestamp,
    /// Several of [`Bool`](Self::Bool).
    Bools,
    /// Several of [`I64`](Self::I64).
    I64s,
    /// Several of [`F64`](Self::F64).
    F64s,
    /// Several of [`String`](Self::String).
    Strings,
    /// Several of [`Timestamp`](Self::Timestamp).
    Timestamps,
}

impl AttributeType {
    /// The type of one element; a type that is no array is its own.
    #[must_use]
    pub fn element(self) -> Self {
        match self {
            Self::Bools => Self::Bool,
            Self::I64s => Self::I64,
            Self::F64s => Self::F64,
            Self::Strings => Self::String,
            Self::Timestamps => Self::Timestamp,
            other => other,
        }
    }

    /// Whether it holds several values.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.element() != self
    }
}

/// The language whose word endings are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stemming {
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Italian,
    Norwegian,
    Portuguese,
    Spanish,
    Swedish,
}

/// A field of text that is searched by its words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextField {
    /// Cuts word endings off by the Snowball algorithm of a language. None by default: words are compared in lower case.
    pub stemming: Option<Stemming>,
    /// Words, in lower case, that are not indexed.
    pub stop_words: Vec<String>,
}

/// A field of sparse vectors, compared by their inner product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SparseField {}

/// The named fields of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schema {
    /// Fields of dense vectors.
    pub vectors: BTreeMap<String, VectorField>,
    /// Fields of sparse vectors.
    pub sparse: BTreeMap<String, SparseField>,
    /// Attributes to filter and group by.
    pub attributes: BTreeMap<String, AttributeType>,
    /// Fields of text.
    pub texts: BTreeMap<String, TextField>,
}

impl Schema {
    /// Adds a field of vectors.
    #[must_use]
    pub fn vector(mut self, name: &str, field: VectorField) -> Self {
        self.vectors.insert(name.to_owned(), field);
        self
    }

    /// Adds a field of sparse vectors.
    #[must_use]
    pub fn sparse(mut self, name: &str) -> Self {
        self.sparse.insert(name.to_owned(), SparseField {});
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, of: AttributeType) -> Self {
        self.attributes.insert(name.to_owned(), of);
        self
    }

    /// Adds a field of text.
    #[must_use]
    pub fn text(mut self, name: &str, field: TextField) -> Self {
        self.texts.insert(name.to_owned(), field);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let names =
            self.vectors.keys().chain(self.sparse.keys()).chain(self.attributes.keys()).chain(self.texts.keys());
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let well_formed = name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
            if name.is_empty() || name.len() > FIELD_NAME_LIMIT_BYTES || !well_formed {
                return Err(Error::invalid(format!(
                    "name of a field is 1 to {FIELD_NAME_LIMIT_BYTES} letters, digits and underscores, and begins with no digit, name={name}"
                )));
            }
            if name == RESERVED_NAME {
                return Err(Error::invalid(format!("name of a field is that of the document's own id, name={name}")));
            }
            if !seen.insert(name) {
                return Err(Error::invalid(format!("name of a field is used twice, name={name}")));
            }
        }
        for (name, field) in &self.vectors {
            if field.dims == 0 || field.dims > DIMENSIONS_LIMIT {
                return Err(Error::invalid(format!(
                    "dimensions out of range, field={name}, dims={}, range=1..={DIMENSIONS_LIMIT}",
                    field.dims
                )));
            }
        }
        Ok(())
    }

    /// Whether this schema may become `new`: it may only grow.
    pub(crate) fn may_become(&self, new: &Self) -> Result<()> {
        fn kept<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Result<()> {
            match old.iter().find(|(name, field)| new.get(*name) != Some(field)) {
                None => Ok(()),
                Some((name, _)) => Err(Error::invalid(format!("a field cannot be changed or removed, field={name}"))),
            }
        }
        kept(&self.vectors, &new.vectors)?;
        kept(&self.sparse, &new.sparse)?;
        kept(&self.attributes, &new.attributes)?;
        kept(&self.texts, &new.texts)
    }

    /// A value as an attribute takes it: whole numbers do for floats and timestamps, RFC 3339 for timestamps, and an
    /// array without elements is of any type.
    ///
    /// # Errors
    /// `Invalid` if there is no such attribute, or the value is of another type.
    pub fn fit(&self, attribute: &str, value: Value) -> Result<Value> {
        let of = self.attribute_type(attribute)?;
        Ok(match (of, value) {
            (of, value) if Self::fits(of, &value) => value,
            (AttributeType::F64, Value::I64(v)) => Value::F64(v as f64),
            (AttributeType::Timestamp, Value::I64(v)) => Value::Timestamp(Timestamp(v)),
            (AttributeType::Timestamp, Value::String(v)) => Value::Timestamp(moment(attribute, &v)?),
            (AttributeType::F64s, Value::I64s(all)) => Value::F64s(all.into_iter().map(|v| v as f64).collect()),
            (AttributeType::Timestamps, Value::I64s(all)) => {
                Value::Timestamps(all.into_iter().map(Timestamp).collect())
            }
            (AttributeType::Timestamps, Value::Strings(all)) => {
                Value::Timestamps(all.iter().map(|v| moment(attribute, v)).collect::<Result<_>>()?)
            }
            (of, value) if of.is_array() && value.is_empty_array() => match of {
                AttributeType::Bools => Value::Bools(Vec::new()),
                AttributeType::I64s => Value::I64s(Vec::new()),
                AttributeType::F64s => Value::F64s(Vec::new()),
                AttributeType::Timestamps => Value::Timestamps(Vec::new()),
                _ => Value::Strings(Vec::new()),
            },
            (of, value) => {
                let found = value.attribute_type();
                return Err(Error::invalid(format!(
                    "wrong type, attribute={attribute}, type={found:?}, expected={of:?}"
                )));
            }
        })
    }

    /// The type of an attribute.
    pub(crate) fn attribute_type(&self, name: &str) -> Result<AttributeType> {
        let found = self.attributes.get(name).copied();
        found.ok_or_else(|| Error::invalid(format!("no such attribute in the schema, attribute={name}")))
    }

    /// A field of vectors.
    pub(crate) fn vector_field(&self, name: &str) -> Result<VectorField> {
        let found = self.vectors.get(name).copied();
        found.ok_or_else(|| Error::invalid(format!("no such vector field in the schema, field={name}")))
    }

    /// A field of sparse vectors.
    pub(crate) fn sparse_field(&self, name: &str) -> Result<SparseField> {
        let found = self.sparse.get(name).copied();
        found.ok_or_else(|| Error::invalid(format!("no such sparse field in the schema, field={name}")))
    }

    /// A field of text.
    pub(crate) fn text_field(&self, name: &str) -> Result<&TextField> {
        self.texts.get(name).ok_or_else(|| Error::invalid(format!("no such text field in the schema, field={name}")))
    }

    /// Whether a value may stand in an attribute of this type.
    pub(crate) fn fits(of: AttributeType, value: &Value) -> bool {
        value.attribute_type() == of
    }
}

/// A moment as in RFC 3339, to the millisecond.
pub(crate) fn moment(attribute: &str, text: &str) -> Result<Timestamp> {
    let moment = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| {
        Error::invalid(format!("not a moment as in RFC 3339, attribute={attribute}, value={text:?}")).with_source(error)
    })?;
    Ok(Timestamp(moment.timestamp_millis()))
}

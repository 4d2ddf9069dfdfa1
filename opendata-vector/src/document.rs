//! Documents as users see them: an id, vectors, attributes and texts.

use std::collections::BTreeMap;

use bytes::Bytes;
use opendata_core::Timestamp;

use crate::schema::AttributeType;
use crate::sparse::SparseVector;

/// Longest id of a document, in bytes.
pub const ID_LIMIT_BYTES: usize = 1024;
/// Longest string in an attribute, in bytes. Longer text belongs into a field of text.
pub const STRING_LIMIT_BYTES: usize = 1024;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of AttributeType")]
pub enum Value {
    Bool(bool),
    I64(i64),
    F64(f64),
    String(String),
    Timestamp(Timestamp),
    Bools(Vec<bool>),
    I64s(Vec<i64>),
    F64s(Vec<f64>),
    Strings(Vec<String>),
    Timestamps(Vec<Timestamp>),
}

impl Value {
    /// Its type.
    #[must_use]
    pub fn attribute_type(&self) -> AttributeType {
        match self {
            Self::Bool(_) => AttributeType::Bool,
            Self::I64(_) => AttributeType::I64,
            Self::F64(_) => AttributeType::F64,
            Self::String(_) => AttributeType::String,
            Self::Timestamp(_) => AttributeType::Timestamp,
            Self::Bools(_) => AttributeType::Bools,
            Self::I64s(_) => AttributeType::I64s,
            Self::F64s(_) => AttributeType::F64s,
            Self::Strings(_) => AttributeType::Strings,
            Self::Timestamps(_) => AttributeType::Timestamps,
        }
    }

    /// Whether it is an array without elements.
    pub(crate) fn is_empty_array(&self) -> bool {
        self.attribute_type().is_array() && self.scalars().is_empty()
    }

    /// The single values in it.
    pub(crate) fn scalars(&self) -> Vec<Scalar> {
        match self {
            Self::Bool(v) => vec![Scalar::Bool(*v)],
            Self::I64(v) => vec![Scalar::I64(*v)],
            Self::F64(v) => vec![Scalar::f64(*v)],
            Self::String(v) => vec![Scalar::String(v.clone())],
            Self::Timestamp(v) => vec![Scalar::I64(v.0)],
            Self::Bools(v) => v.iter().map(|v| Scalar::Bool(*v)).collect(),
            Self::I64s(v) => v.iter().map(|v| Scalar::I64(*v)).collect(),
            Self::F64s(v) => v.iter().map(|v| Scalar::f64(*v)).collect(),
            Self::Strings(v) => v.iter().map(|v| Scalar::String(v.clone())).collect(),
            Self::Timestamps(v) => v.iter().map(|v| Scalar::I64(v.0)).collect(),
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Bool(_) => 1,
            Self::I64(_) | Self::F64(_) | Self::Timestamp(_) => 8,
            Self::String(v) => v.len(),
            Self::Bools(v) => v.len(),
            Self::I64s(v) => v.len() * 8,
            Self::F64s(v) => v.len() * 8,
            Self::Strings(v) => v.iter().map(|v| v.len() + 2).sum(),
            Self::Timestamps(v) => v.len() * 8,
        }
    }
}

macro_rules! from {
    ($($of:ty => $variant:ident),* $(,)?) => {$(
        impl From<$of> for Value {
            fn from(value: $of) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i64 => I64, f64 => F64, String => String, &str => String, Timestamp => Timestamp,
    Vec<bool> => Bools, Vec<i64> => I64s, Vec<f64> => F64s, Vec<String> => Strings, Vec<Timestamp> => Timestamps,
}

/// One comparable value. Timestamps compare as their milliseconds; -0.0 is 0.0.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Scalar {
    Bool(bool),
    I64(i64),
    F64(f64),
    String(String),
}

impl Scalar {
    pub(crate) fn f64(value: f64) -> Self {
        Self::F64(if value == 0.0 { 0.0 } else { value })
    }
}

/// A document to be written, or as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Its id: any bytes, 1 to [`ID_LIMIT_BYTES`].
    pub id: Bytes,
    /// Vectors by field.
    pub vectors: BTreeMap<String, Vec<f32>>,
    /// Sparse vectors by field.
    pub sparse: BTreeMap<String, SparseVector>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Value>,
    /// Texts by field.
    pub texts: BTreeMap<String, String>,
}

impl Document {
    /// A document with nothing but an id.
    #[must_use]
    pub fn new(id: impl AsRef<[u8]>) -> Self {
        Self { id: Bytes::copy_from_slice(id.as_ref()), ..Self::default() }
    }

    /// With a vector.
    #[must_use]
    pub fn vector(mut self, field: &str, vector: impl Into<Vec<f32>>) -> Self {
        self.vectors.insert(field.to_owned(), vector.into());
        self
    }

    /// With a sparse vector.
    #[must_use]
    pub fn sparse(mut self, field: &str, vector: SparseVector) -> Self {
        self.sparse.insert(field.to_owned(), vector);
        self
    }

    /// With an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// With a text.
    #[must_use]
    pub fn text(mut self, field: &str, text: impl Into<String>) -> Self {
        self.texts.insert(field.to_owned(), text.into());
        self
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let vectors: usize = self.vectors.iter().map(|(name, vector)| name.len() + vector.len() * 4).sum();
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.size_bytes()).sum();
        let texts: usize = self.texts.iter().map(|(name, text)| name.len() + text.len()).sum();
        let sparse: usize = self.sparse.iter().map(|(name, vector)| name.len() + vector.indices.len() * 8).sum();
        self.id.len() + vectors + sparse + attributes + texts + 64
    }
}

/// Changes to a document. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    pub(crate) vectors: BTreeMap<String, Option<Vec<f32>>>,
    pub(crate) sparse: BTreeMap<String, Option<SparseVector>>,
    pub(crate) attributes: BTreeMap<String, Option<Value>>,
    pub(crate) texts: BTreeMap<String, Option<String>>,
}

impl Patch {
    /// Changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a vector; `None` removes it.
    #[must_use]
    pub fn vector(mut self, field: &str, vector: Option<Vec<f32>>) -> Self {
        self.vectors.insert(field.to_owned(), vector);
        self
    }

    /// Replaces a sparse vector; `None` removes it.
    #[must_use]
    pub fn sparse(mut self, field: &str, vector: Option<SparseVector>) -> Self {
        self.sparse.insert(field.to_owned(), vector);
        self
    }

    /// Replaces an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.to_owned(), Some(value.into()));
        self
    }

    /// Removes an attribute.
    #[must_use]
    pub fn without_attribute(mut self, name: &str) -> Self {
        self.attributes.insert(name.to_owned(), None);
        self
    }

    /// Replaces a text; `None` removes it.
    #[must_use]
    pub fn text(mut self, field: &str, text: Option<String>) -> Self {
        self.texts.insert(field.to_owned(), text);
        self
    }

    /// The document after the changes.
    pub(crate) fn apply(self, document: &mut Document) {
        fn change<T>(fields: &mut BTreeMap<String, T>, changes: BTreeMap<String, Option<T>>) {
            for (name, value) in changes {
                match value {
                    Some(value) => fields.insert(name, value),
                    None => fields.remove(&name),
                };
            }
        }
        change(&mut document.vectors, self.vectors);
        change(&mut document.sparse, self.sparse);
        change(&mut document.attributes, self.attributes);
        change(&mut document.texts, self.texts);
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let mut document = Document::default();
        self.clone().apply(&mut document);
        document.size_bytes()
    }
}

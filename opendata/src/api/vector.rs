//! Documents of a vector instance as JSON: the id and the fields side by side.
//!
//! ```json
//! {"id": "a", "embedding": [0.1, 0.2], "lang": "en", "year": 1999, "body": "a red fox"}
//! ```
//!
//! What a field is, the schema says. A sparse vector is `{"indices": [3, 17], "values": [0.5, 1.2]}`. Moments are milliseconds, or strings as in RFC 3339. In a document `null` is a field
//! that is left out; in a patch it removes the field.

pub(crate) mod ask;
pub(crate) mod query;

use std::fmt;

use opendata_compose::vector::{AttributeType, Document, Patch, Schema, SparseVector, Value};
use opendata_core::{Error, Result, Timestamp};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::bytes::Text;

/// A document, its fields not read yet.
#[derive(Clone, Debug)]
pub(crate) struct DocumentJson {
    pub(crate) id: Text,
    pub(crate) fields: Vec<(String, Box<RawValue>)>,
}

/// A field as its kind takes it.
pub(crate) enum Field {
    Vector(Vec<f32>),
    Sparse(SparseVector),
    Attribute(Value),
    Text(String),
}

impl Field {
    /// The document with this field.
    pub(crate) fn onto(self, document: Document, name: &str) -> Document {
        match self {
            Self::Vector(vector) => document.vector(name, vector),
            Self::Sparse(vector) => document.sparse(name, vector),
            Self::Attribute(value) => document.attribute(name, value),
            Self::Text(text) => document.text(name, text),
        }
    }
}

impl DocumentJson {
    /// The document that it is by a schema.
    pub(crate) fn document(&self, schema: &Schema) -> Result<Document> {
        let mut document = Document::new(&self.id.0);
        for (name, raw) in self.fields.iter().filter(|(_, raw)| raw.get() != "null") {
            document = self.field(schema, name, raw)?.onto(document, name);
        }
        Ok(document)
    }

    /// The changes that it asks for by a schema.
    pub(crate) fn patch(&self, schema: &Schema) -> Result<Patch> {
        let mut patch = Patch::new();
        for (name, raw) in &self.fields {
            if raw.get() == "null" {
                patch = match kind(schema, name) {
                    Some(Kind::Vector) => patch.vector(name, None),
                    Some(Kind::Sparse) => patch.sparse(name, None),
                    Some(Kind::Attribute(_)) => patch.without_attribute(name),
                    Some(Kind::Text) => patch.text(name, None),
                    None => return Err(self.wrong("no such field in the schema", name)),
                };
                continue;
            }
            patch = match self.field(schema, name, raw)? {
                Field::Vector(vector) => patch.vector(name, Some(vector)),
                Field::Sparse(vector) => patch.sparse(name, Some(vector)),
                Field::Attribute(value) => patch.attribute(name, value),
                Field::Text(text) => patch.text(name, Some(text)),
            };
        }
        Ok(patch)
    }

    fn field(&self, schema: &Schema, name: &str, raw: &RawValue) -> Result<Field> {
        match kind(schema, name) {
            Some(Kind::Vector) => self.read(name, raw).map(Field::Vector),
            Some(Kind::Sparse) => self.read(name, raw).map(Field::Sparse),
            Some(Kind::Text) => self.read(name, raw).map(Field::Text),
            Some(Kind::Attribute(of)) => {
                let value = self.value(name, of, raw)?;
                let fits = schema.fit(name, value).map(Field::Attribute);
                fits.map_err(|error| error.context(format_args!("document {}", self.id.show())))
            }
            None => Err(self.wrong("no such field in the schema", name)),
        }
    }

    fn value(&self, name: &str, of: AttributeType, raw: &RawValue) -> Result<Value> {
        let has_strings = raw.get().contains('"');
        Ok(match of {
            AttributeType::Bool => Value::Bool(self.read(name, raw)?),
            AttributeType::I64 => Value::I64(self.read(name, raw)?),
            AttributeType::F64 => Value::F64(self.read(name, raw)?),
            AttributeType::Timestamp if !has_strings => Value::Timestamp(Timestamp(self.read(name, raw)?)),
            AttributeType::String | AttributeType::Timestamp => Value::String(self.read(name, raw)?),
            AttributeType::Bools => Value::Bools(self.read(name, raw)?),
            AttributeType::I64s => Value::I64s(self.read(name, raw)?),
            AttributeType::F64s => Value::F64s(self.read(name, raw)?),
            AttributeType::Timestamps if !has_strings => Value::I64s(self.read(name, raw)?),
            AttributeType::Strings | AttributeType::Timestamps => Value::Strings(self.read(name, raw)?),
        })
    }

    fn read<T: DeserializeOwned>(&self, name: &str, raw: &RawValue) -> Result<T> {
        serde_json::from_str(raw.get()).map_err(|error| {
            let what = error.to_string();
            // The place is one within the field, which would mislead.
            let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
            self.wrong(what, name).with_source(error)
        })
    }

    fn wrong(&self, what: &str, field: &str) -> Error {
        Error::invalid(format!("document {}: {what}, field={field}", self.id.show()))
    }
}

/// What a field of a schema is.
pub(crate) enum Kind {
    Vector,
    Sparse,
    Attribute(AttributeType),
    Text,
}

pub(crate) fn kind(schema: &Schema, name: &str) -> Option<Kind> {
    if let Some(of) = schema.attributes.get(name) {
        return Some(Kind::Attribute(*of));
    }
    if schema.vectors.contains_key(name) {
        return Some(Kind::Vector);
    }
    if schema.sparse.contains_key(name) {
        return Some(Kind::Sparse);
    }
    schema.texts.contains_key(name).then_some(Kind::Text)
}

impl TryFrom<&Document> for DocumentJson {
    type Error = Error;

    fn try_from(document: &Document) -> Result<Self> {
        let vectors = document.vectors.iter().map(|(name, vector)| (name, raw(vector)));
        let attributes = document.attributes.iter().map(|(name, value)| (name, raw_value(value)));
        let texts = document.texts.iter().map(|(name, text)| (name, raw(text)));
        let sparse = document.sparse.iter().map(|(name, vector)| (name, raw(vector)));
        let fields =
            vectors.chain(sparse).chain(attributes).chain(texts).map(|(name, value)| Ok((name.clone(), value?)));
        let mut fields: Vec<_> = fields.collect::<Result<_>>()?;
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { id: (&document.id).into(), fields })
    }
}

fn raw_value(value: &Value) -> Result<Box<RawValue>> {
    match value {
        Value::Bool(value) => raw(value),
        Value::I64(value) => raw(value),
        Value::F64(value) => raw(value),
        Value::String(value) => raw(value),
        Value::Timestamp(value) => raw(&value.0),
        Value::Bools(all) => raw(all),
        Value::I64s(all) => raw(all),
        Value::F64s(all) => raw(all),
        Value::Strings(all) => raw(all),
        Value::Timestamps(all) => raw(&all.iter().map(|value| value.0).collect::<Vec<_>>()),
    }
}

fn raw(value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| Error::invalid("a field cannot be written as JSON").with_source(error))
}

impl Serialize for DocumentJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.fields.len()))?;
        map.serialize_entry("id", &self.id)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for DocumentJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = DocumentJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document: an object with its `id` and its fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DocumentJson, A::Error> {
                use serde::de::Error as _;
                let mut id = None;
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.iter().any(|(known, _)| *known == name) || (name == "id" && id.is_some()) {
                        return Err(A::Error::custom(format!("`{name}` stands in the document twice")));
                    }
                    if name == "id" {
                        id = Some(map.next_value()?);
                    } else {
                        fields.push((name, map.next_value()?));
                    }
                }
                let id = id.ok_or_else(|| A::Error::missing_field("id"))?;
                Ok(DocumentJson { id, fields })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests;

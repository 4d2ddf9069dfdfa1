//! Schemas of a log's records: which fields their JSON payloads have, and of which type.
//!
//! Fields are Arrow types. Records may have fields that the schema does not name. A new version may add an optional field or widen a type;
//! whatever was read under the old one can be read under the new one. Anything else is refused, unless it is said to be a break.

use std::collections::BTreeMap;
use std::fmt;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod stored;

pub use stored::{Registration, latest, register, register_declared};

/// The fields of a record as they are declared: `tenant: string`, `note: string?`, `tags: list<string>`, or fields of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaSpec(pub BTreeMap<String, FieldSpec>);

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldSpec {
    /// A type by name: `bool`, `int32`, `int64`, `float32`, `float64`, `string`, `timestamp`, `list<..>`; a `?` behind it says that the field may be missing or null.
    Type(String),
    /// An object with fields of its own. It may not be missing.
    Object(BTreeMap<String, FieldSpec>),
}

/// A schema of a log instance. Versions begin at 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    version: u32,
    spec: SchemaSpec,
    fields: Fields,
}

impl Schema {
    /// Reads a declaration.
    ///
    /// # Errors
    /// `Invalid` if it names no type that there is.
    pub fn new(version: u32, spec: SchemaSpec) -> Result<Self> {
        let fields = fields_of(&spec.0, "")?;
        Ok(Self { version, spec, fields })
    }

    /// Its version; records carry it as their schema id.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// As it was declared.
    #[must_use]
    pub fn spec(&self) -> &SchemaSpec {
        &self.spec
    }

    /// As Arrow knows it.
    #[must_use]
    pub fn arrow(&self) -> arrow_schema::Schema {
        arrow_schema::Schema::new(self.fields.clone())
    }

    /// The type of a field by its path, and whether it may be missing.
    ///
    /// # Errors
    /// `Invalid`, naming the path and what there is in its place.
    pub fn field(&self, path: &[String]) -> Result<(DataType, bool)> {
        let mut fields = &self.fields;
        let mut optional = false;
        for (depth, name) in path.iter().enumerate() {
            let Some((_, field)) = fields.find(name) else {
                let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                return Err(Error::invalid(format!(
                    "the schema has no such field, field={}, known={}",
                    path.join("."),
                    known.join(" ")
                )));
            };
            optional |= field.is_nullable();
            if depth + 1 == path.len() {
                return Ok((field.data_type().clone(), optional));
            }
            match field.data_type() {
                DataType::Struct(inner) => fields = inner,
                other => {
                    return Err(Error::invalid(format!(
                        "a field of the schema is no object, field={}, type={other}",
                        path.join(".")
                    )));
                }
            }
        }
        Ok((DataType::Struct(self.fields.clone()), optional))
    }

    /// Whether whatever reads `self` can read `newer` as well.
    ///
    /// # Errors
    /// `Conflict`, naming the first field that keeps it from that.
    pub fn accepts(&self, newer: &Self) -> Result<()> {
        compatible(&self.fields, &newer.fields, "")
    }

    /// Whether a payload is JSON and fits.
    ///
    /// # Errors
    /// Why it does not.
    pub fn fits_bytes(&self, payload: &[u8]) -> Result<(), String> {
        let payload = serde_json::from_slice(payload).map_err(|error| format!("the payload is no JSON: {error}"))?;
        self.fits(&payload)
    }

    /// Whether a payload fits.
    ///
    /// # Errors
    /// A sentence that says which field does not.
    pub fn fits(&self, payload: &Value) -> Result<(), String> {
        fits(&self.fields, payload, "")
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        self.fields.iter().try_for_each(|field| {
            let optional = if field.is_nullable() { "?" } else { "" };
            write!(f, ", {}: {}{optional}", field.name(), field.data_type())
        })
    }
}

fn fields_of(declared: &BTreeMap<String, FieldSpec>, within: &str) -> Result<Fields> {
    let field = |(name, spec): (&String, &FieldSpec)| {
        if name.is_empty() {
            return Err(Error::invalid("a field of the schema has no name"));
        }
        match spec {
            FieldSpec::Object(inner) => {
                let inner = fields_of(inner, &format!("{within}{name}."))?;
                Ok(Field::new(name, DataType::Struct(inner), false))
            }
            FieldSpec::Type(text) => {
                let (text, optional) = text.strip_suffix('?').map_or((text.as_str(), false), |text| (text, true));
                let data_type = type_of(text.trim()).ok_or_else(|| {
                    Error::invalid(format!(
                        "unknown type of a field, field={within}{name}, type={text}, known=bool int32 int64 float32 float64 string timestamp list<..>"
                    ))
                })?;
                Ok(Field::new(name, data_type, optional))
            }
        }
    };
    declared.iter().map(field).collect()
}

fn type_of(text: &str) -> Option<DataType> {
    if let Some(inner) = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
        return Some(DataType::new_list(type_of(inner.trim())?, false));
    }
    Some(match text {
        "bool" => DataType::Boolean,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "string" => DataType::Utf8,
        "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, None),
        _ => return None,
    })
}

fn compatible(old: &Fields, new: &Fields, within: &str) -> Result<()> {
    let refuse = |what: &str, name: &str| {
        Err(Error::conflict(format!("the new schema is not compatible: {what}, field={within}{name}")))
    };
    for field in old {
        let Some((_, newer)) = new.find(field.name()) else { return refuse("a field is gone", field.name()) };
        if newer.is_nullable() && !field.is_nullable() {
            return refuse("a field became optional", field.name());
        }
        match (field.data_type(), newer.data_type()) {
            (DataType::Struct(old), DataType::Struct(new)) => {
                compatible(old, new, &format!("{within}{}.", field.name()))?;
            }
            (old, new) if widens(old, new) => {}
            _ => return refuse("a type became another", field.name()),
        }
    }
    for field in new {
        if old.find(field.name()).is_none() && !field.is_nullable() {
            return refuse("a new field is not optional", field.name());
        }
    }
    Ok(())
}

fn widens(old: &DataType, new: &DataType) -> bool {
    match (old, new) {
        (DataType::Int32, DataType::Int64 | DataType::Float64) | (DataType::Float32, DataType::Float64) => true,
        (DataType::List(old), DataType::List(new)) => widens(old.data_type(), new.data_type()),
        (old, new) => old == new,
    }
}

fn fits(fields: &Fields, payload: &Value, within: &str) -> Result<(), String> {
    let Value::Object(object) = payload else {
        return Err(format!("{} is no object", if within.is_empty() { "the payload" } else { within }));
    };
    for field in fields {
        match object.get(field.name()) {
            None | Some(Value::Null) if field.is_nullable() => {}
            None => return Err(format!("field {within}{} is missing", field.name())),
            Some(value) => {
                fits_type(field.data_type(), value, &format!("{within}{}", field.name()))?;
            }
        }
    }
    Ok(())
}

fn fits_type(data_type: &DataType, value: &Value, path: &str) -> Result<(), String> {
    let is = match data_type {
        DataType::Boolean => value.is_boolean(),
        DataType::Int32 => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        DataType::Int64 => value.is_i64(),
        DataType::Float32 | DataType::Float64 => value.is_number(),
        DataType::Utf8 => value.is_string(),
        DataType::Timestamp(..) => super::expr::time_of(value).is_some(),
        DataType::List(element) => match value {
            Value::Array(elements) => {
                return elements.iter().try_for_each(|value| fits_type(element.data_type(), value, path));
            }
            _ => false,
        },
        DataType::Struct(fields) => return fits(fields, value, &format!("{path}.")),
        _ => false,
    };
    if is { Ok(()) } else { Err(format!("field {path} is not of type {data_type}")) }
}

#[cfg(test)]
mod tests;

//! Filters: which documents a search, a count or a deletion is about.
//!
//! A comparison is about documents that have the attribute: `ne` does not match one without it. `not` is the plain
//! complement and does. Filters are read from text, see `parse`, and from JSON and the like, see `form`. On an array `eq` to `in` are refused; `contains` asks for an element.

use opendata_core::{Error, Result};

use crate::document::{Scalar, Value};
use crate::record::Stored;
use crate::schema::{self, AttributeType, Schema};

pub(crate) mod bitmap;
mod form;
mod parse;

/// Deepest nesting of a filter.
pub const FILTER_DEPTH_LIMIT: usize = 32;

/// Which documents are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these hold. Without any: every document.
    And(Vec<Filter>),
    /// At least one of these holds. Without any: no document.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The attribute compares so with the value.
    Compare {
        /// The attribute.
        attribute: String,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Value,
    },
    /// The attribute equals one of the values.
    In {
        /// The attribute.
        attribute: String,
        /// The values.
        values: Vec<Value>,
    },
    /// The string begins so.
    Prefix {
        /// The attribute.
        attribute: String,
        /// Its beginning.
        beginning: String,
    },
    /// The array has this element, or the string has this part.
    Contains {
        /// The attribute.
        attribute: String,
        /// The element, or the part.
        value: Value,
    },
    /// The document has the attribute.
    Exists {
        /// The attribute.
        attribute: String,
    },
}

/// How an attribute compares with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Filter {
    /// Every document.
    #[must_use]
    pub fn all() -> Self {
        Self::And(Vec::new())
    }

    /// The attribute compares so with the value.
    #[must_use]
    pub fn compare(attribute: &str, comparison: Comparison, value: impl Into<Value>) -> Self {
        Self::Compare { attribute: attribute.to_owned(), comparison, value: value.into() }
    }

    /// The attribute equals the value.
    #[must_use]
    pub fn eq(attribute: &str, value: impl Into<Value>) -> Self {
        Self::compare(attribute, Comparison::Equal, value)
    }

    /// The attribute is there and does not equal the value.
    #[must_use]
    pub fn ne(attribute: &str, value: impl Into<Value>) -> Self {
        Self::compare(attribute, Comparison::NotEqual, value)
    }

    /// The attribute is less than the value.
    #[must_use]
    pub fn lt(attribute: &str, value: impl Into<Value>) -> Self {
        Self::compare(attribute, Comparison::Less, value)
    }

    /// The attribute is at most the value.
    #[must_use]
    pub fn le(attribute: &str, value: impl Into<Value>) -> Self {
        Self::compare(attribute, Comparison::LessOrEqual, value)
    }

    /// The attribute is greater than the value.
    #[must_use]
    pub fn gt(attribute: &str, value: impl Into<Value>) -> Self {
        Self::compare(attribute, Comparison::Greater, value)
    }

    /// The attribute is at least the value.
    #[must_use]
    pub fn ge(attribute: &str, value: impl Into<Value>) -> Self {
        Self::compare(attribute, Comparison::GreaterOrEqual, value)
    }

    /// The attribute lies from `least`, included, to `below`, excluded.
    #[must_use]
    pub fn range(attribute: &str, least: impl Into<Value>, below: impl Into<Value>) -> Self {
        Self::ge(attribute, least).and(Self::lt(attribute, below))
    }

    /// The attribute equals one of the values.
    #[must_use]
    pub fn is_in<V: Into<Value>>(attribute: &str, values: impl IntoIterator<Item = V>) -> Self {
        Self::In { attribute: attribute.to_owned(), values: values.into_iter().map(Into::into).collect() }
    }

    /// The string begins so.
    #[must_use]
    pub fn prefix(attribute: &str, beginning: &str) -> Self {
        Self::Prefix { attribute: attribute.to_owned(), beginning: beginning.to_owned() }
    }

    /// The array has this element, or the string has this part.
    #[must_use]
    pub fn contains(attribute: &str, value: impl Into<Value>) -> Self {
        Self::Contains { attribute: attribute.to_owned(), value: value.into() }
    }

    /// The document has the attribute.
    #[must_use]
    pub fn exists(attribute: &str) -> Self {
        Self::Exists { attribute: attribute.to_owned() }
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            one => Self::And(vec![one, other]),
        }
    }

    /// At least one of both holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut all) => {
                all.push(other);
                Self::Or(all)
            }
            one => Self::Or(vec![one, other]),
        }
    }

    /// This does not hold.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it reads like `and` and `or` beside it")]
    pub fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Checks a filter against the schema.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        self.check_at(schema, 0)
    }

    fn check_at(&self, schema: &Schema, depth: usize) -> Result<()> {
        if depth > FILTER_DEPTH_LIMIT {
            return Err(Error::invalid(format!("filter is nested too deeply, limit={FILTER_DEPTH_LIMIT}")));
        }
        match self {
            Self::And(all) | Self::Or(all) => all.iter().try_for_each(|one| one.check_at(schema, depth + 1)),
            Self::Not(one) => one.check_at(schema, depth + 1),
            Self::Compare { attribute, value, .. } => single(schema, attribute, value).map(|_| ()),
            Self::In { attribute, values } => {
                values.iter().try_for_each(|value| single(schema, attribute, value).map(|_| ()))?;
                schema.attribute_type(attribute).map(|_| ())
            }
            Self::Prefix { attribute, .. } => match schema.attribute_type(attribute)? {
                AttributeType::String => Ok(()),
                of => Err(mismatch(attribute, of, "prefix asks for a string")),
            },
            Self::Contains { attribute, value } => {
                let of = schema.attribute_type(attribute)?;
                if !of.is_array() && of != AttributeType::String {
                    return Err(mismatch(attribute, of, "contains asks for an array or a string"));
                }
                scalar(attribute, of.element(), value).map(|_| ())
            }
            Self::Exists { attribute } => schema.attribute_type(attribute).map(|_| ()),
        }
    }

    /// Whether a document matches. The filter was checked against the schema.
    pub(crate) fn matches(&self, schema: &Schema, stored: &Stored) -> Result<bool> {
        let first = |attribute: &String| {
            let value = stored.attributes.get(attribute)?;
            value.scalars().into_iter().next()
        };
        Ok(match self {
            Self::And(all) => {
                for one in all {
                    if !one.matches(schema, stored)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Or(all) => {
                for one in all {
                    if one.matches(schema, stored)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(one) => !one.matches(schema, stored)?,
            Self::Compare { attribute, comparison, value } => {
                let wanted = single(schema, attribute, value)?;
                first(attribute).is_some_and(|own| comparison.holds(&own, &wanted))
            }
            Self::In { attribute, values } => {
                let wanted: Result<Vec<_>> = values.iter().map(|value| single(schema, attribute, value)).collect();
                let wanted = wanted?;
                first(attribute).is_some_and(|own| wanted.contains(&own))
            }
            Self::Prefix { attribute, beginning } => match first(attribute) {
                Some(Scalar::String(own)) => own.starts_with(beginning),
                _ => false,
            },
            Self::Contains { attribute, value } => {
                let of = schema.attribute_type(attribute)?;
                let wanted = scalar(attribute, of.element(), value)?;
                match (stored.attributes.get(attribute), &wanted) {
                    (Some(Value::String(own)), Scalar::String(part)) => own.contains(part),
                    (Some(own), wanted) => own.scalars().contains(wanted),
                    (None, _) => false,
                }
            }
            Self::Exists { attribute } => stored.attributes.contains_key(attribute),
        })
    }
}

impl Comparison {
    pub(crate) fn holds(self, own: &Scalar, wanted: &Scalar) -> bool {
        match self {
            Self::Equal => own == wanted,
            Self::NotEqual => own != wanted,
            Self::Less => own < wanted,
            Self::LessOrEqual => own <= wanted,
            Self::Greater => own > wanted,
            Self::GreaterOrEqual => own >= wanted,
        }
    }
}

/// The value that an attribute, which must not be an array, is compared with.
pub(crate) fn single(schema: &Schema, attribute: &str, value: &Value) -> Result<Scalar> {
    let of = schema.attribute_type(attribute)?;
    if of.is_array() {
        return Err(mismatch(attribute, of, "an array is asked for elements by contains"));
    }
    scalar(attribute, of, value)
}

/// A value as one of this type. Whole numbers do for floats and timestamps, RFC 3339 for timestamps.
pub(crate) fn scalar(attribute: &str, of: AttributeType, value: &Value) -> Result<Scalar> {
    match (of, value) {
        (AttributeType::Bool, Value::Bool(v)) => Ok(Scalar::Bool(*v)),
        (AttributeType::I64 | AttributeType::Timestamp, Value::I64(v)) => Ok(Scalar::I64(*v)),
        (AttributeType::Timestamp, Value::Timestamp(v)) => Ok(Scalar::I64(v.0)),
        (AttributeType::Timestamp, Value::String(v)) => schema::moment(attribute, v).map(|v| Scalar::I64(v.0)),
        (AttributeType::F64, Value::F64(v)) if !v.is_nan() => Ok(Scalar::f64(*v)),
        (AttributeType::F64, Value::I64(v)) => Ok(Scalar::f64(*v as f64)),
        (AttributeType::String, Value::String(v)) => Ok(Scalar::String(v.clone())),
        _ => Err(mismatch(attribute, of, "value of another type in a filter")),
    }
}

fn mismatch(attribute: &str, of: AttributeType, what: &str) -> Error {
    Error::invalid(format!("{what}, attribute={attribute}, type={of:?}"))
}

#[cfg(test)]
mod tests;

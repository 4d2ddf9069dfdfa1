//! Filters written out: as text, and as JSON or the like.
//!
//! ```json
//! {"and": [{"attribute": "year", "ge": 1990, "lt": 2000}, {"not": {"attribute": "lang", "in": ["de", "fr"]}}]}
//! ```
//!
//! Several tests of one attribute all hold. A string stands for the filter as text.

use std::fmt;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parse::WORDS;
use super::{Comparison, Filter};
use crate::document::Value;

/// A filter as an object. Exactly one of `and`, `or`, `not` and `attribute` is there.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Form {
    #[serde(skip_serializing_if = "Option::is_none")]
    and: Option<Vec<Filter>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    or: Option<Vec<Filter>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not: Option<Box<Filter>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eq: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ne: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lt: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    le: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gt: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ge: Option<Literal>,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    is_in: Option<Vec<Literal>>,
    /// From the first, included, to the second, excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<(Literal, Literal)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
}

/// A value that is compared with.
struct Literal(Value);

impl Form {
    fn filter(self) -> Result<Filter, String> {
        let shapes = usize::from(self.and.is_some()) + usize::from(self.or.is_some()) + usize::from(self.not.is_some());
        let tests = self.attribute.clone().map(|attribute| self.tests(&attribute)).unwrap_or_default();
        match (shapes, &self.attribute) {
            (1, None) => {}
            (0, Some(attribute)) if tests.is_empty() => {
                return Err(format!("a filter asks nothing of its attribute, attribute={attribute}"));
            }
            (0, Some(_)) => {
                let mut tests = tests;
                return Ok(if tests.len() == 1 { tests.swap_remove(0) } else { Filter::And(tests) });
            }
            _ => return Err("a filter has one of `and`, `or`, `not` and `attribute`".to_owned()),
        }
        Ok(match self {
            Self { and: Some(all), .. } => Filter::And(all),
            Self { or: Some(all), .. } => Filter::Or(all),
            Self { not: Some(one), .. } => Filter::Not(one),
            _ => return Err("a filter has one of `and`, `or`, `not` and `attribute`".to_owned()),
        })
    }

    fn tests(&self, attribute: &str) -> Vec<Filter> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let compared = [
            (Equal, &self.eq),
            (NotEqual, &self.ne),
            (Less, &self.lt),
            (LessOrEqual, &self.le),
            (Greater, &self.gt),
            (GreaterOrEqual, &self.ge),
        ];
        let compared = compared.into_iter().filter_map(|(comparison, value)| {
            value.as_ref().map(|value| Filter::compare(attribute, comparison, value.0.clone()))
        });
        let mut tests: Vec<Filter> = compared.collect();
        if let Some(values) = &self.is_in {
            tests.push(Filter::is_in(attribute, values.iter().map(|value| value.0.clone())));
        }
        if let Some((least, below)) = &self.range {
            tests.push(Filter::ge(attribute, least.0.clone()));
            tests.push(Filter::lt(attribute, below.0.clone()));
        }
        if let Some(beginning) = &self.prefix {
            tests.push(Filter::prefix(attribute, beginning));
        }
        if let Some(value) = &self.contains {
            tests.push(Filter::contains(attribute, value.0.clone()));
        }
        match self.exists {
            Some(true) => tests.push(Filter::exists(attribute)),
            Some(false) => tests.push(Filter::exists(attribute).not()),
            None => {}
        }
        tests
    }

    fn of(filter: &Filter) -> Self {
        let literal = |value: &Value| Some(Literal(value.clone()));
        let named = |attribute: &String| Self { attribute: Some(attribute.clone()), ..Self::default() };
        match filter {
            Filter::And(all) => Self { and: Some(all.clone()), ..Self::default() },
            Filter::Or(all) => Self { or: Some(all.clone()), ..Self::default() },
            Filter::Not(one) => Self { not: Some(one.clone()), ..Self::default() },
            Filter::Compare { attribute, comparison, value } => {
                let form = named(attribute);
                match comparison {
                    Comparison::Equal => Self { eq: literal(value), ..form },
                    Comparison::NotEqual => Self { ne: literal(value), ..form },
                    Comparison::Less => Self { lt: literal(value), ..form },
                    Comparison::LessOrEqual => Self { le: literal(value), ..form },
                    Comparison::Greater => Self { gt: literal(value), ..form },
                    Comparison::GreaterOrEqual => Self { ge: literal(value), ..form },
                }
            }
            Filter::In { attribute, values } => {
                Self { is_in: Some(values.iter().cloned().map(Literal).collect()), ..named(attribute) }
            }
            Filter::Prefix { attribute, beginning } => Self { prefix: Some(beginning.clone()), ..named(attribute) },
            Filter::Contains { attribute, value } => Self { contains: literal(value), ..named(attribute) },
            Filter::Exists { attribute } => Self { exists: Some(true), ..named(attribute) },
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrForm;

        impl<'de> Visitor<'de> for TextOrForm {
            type Value = Filter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a filter, as text or as an object")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Filter, E> {
                text.parse().map_err(|error: opendata_core::Error| E::custom(error.message()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Filter, A::Error> {
                Form::deserialize(MapAccessDeserializer::new(map))?.filter().map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(TextOrForm)
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::F64(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Timestamp(value) => serializer.serialize_i64(value.0),
            _ => Err(serde::ser::Error::custom("a filter compares with single values only")),
        }
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Single;

        impl Visitor<'_> for Single {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::I64(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
                i64::try_from(value)
                    .map(Value::I64)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::F64(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::String(value.to_owned()))
            }
        }

        deserializer.deserialize_any(Single).map(Self)
    }
}

/// The filter as text, which reads as the same filter again.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, all: &[Self], word: &str| {
            for (at, one) in all.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                one.inner(f)?;
            }
            Ok(())
        };
        match self {
            Self::And(all) if all.is_empty() => f.write_str("all"),
            Self::Or(all) if all.is_empty() => f.write_str("none"),
            Self::And(all) => joined(f, all, "and"),
            Self::Or(all) => joined(f, all, "or"),
            Self::Not(one) => {
                f.write_str("not ")?;
                one.inner(f)
            }
            Self::Compare { attribute, comparison, value } => {
                let sign = match comparison {
                    Comparison::Equal => "=",
                    Comparison::NotEqual => "!=",
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                };
                write!(f, "{} {sign} {}", Name(attribute), Shown(value))
            }
            Self::In { attribute, values } => {
                write!(f, "{} in (", Name(attribute))?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, Shown(value))?;
                }
                f.write_str(")")
            }
            Self::Prefix { attribute, beginning } => write!(f, "{} prefix {}", Name(attribute), Quoted(beginning)),
            Self::Contains { attribute, value } => write!(f, "{} contains {}", Name(attribute), Shown(value)),
            Self::Exists { attribute } => write!(f, "{} exists", Name(attribute)),
        }
    }
}

impl Filter {
    /// In parentheses where it is made of several.
    fn inner(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(all) | Self::Or(all) if !all.is_empty() => write!(f, "({self})"),
            _ => write!(f, "{self}"),
        }
    }
}

struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = self.0.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && self.0.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(self.0));
        if is_plain { f.write_str(self.0) } else { write!(f, "`{}`", self.0) }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            // With a point or an exponent, so that it is read as a float again.
            Value::F64(value) => write!(f, "{value:?}"),
            Value::String(value) => write!(f, "{}", Quoted(value)),
            Value::Timestamp(value) => write!(f, "{}", value.0),
            several => write!(f, "{several:?}"),
        }
    }
}

#[cfg(test)]
mod tests;

//! Values of templates.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<Vec<Value>>),
    Map(Rc<BTreeMap<String, Value>>),
    /// Milliseconds since the epoch.
    Time(i64),
}

impl Value {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Rc::from(text.as_ref()))
    }

    pub(crate) fn list(values: Vec<Self>) -> Self {
        Self::List(Rc::new(values))
    }

    /// A map of texts.
    pub(crate) fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::Map(Rc::new(pairs.into_iter().map(|(name, value)| (name.to_owned(), Self::text(value))).collect()))
    }

    /// A sample of a query.
    pub(crate) fn sample(labels: &BTreeMap<String, String>, value: f64) -> Self {
        let labels = Self::texts(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let fields = [("Labels".to_owned(), labels), ("Value".to_owned(), Self::Float(value))];
        Self::Map(Rc::new(fields.into_iter().collect()))
    }

    /// What `if` asks: whether the value is not empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Time(_) => true,
        }
    }

    /// The name of its type, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Time(_) => "a time",
        }
    }

    /// The value as Go prints it.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => super::format::general(*value, None),
            Self::Text(text) => text.to_string(),
            Self::List(list) => {
                let parts: Vec<_> = list.iter().map(Self::show).collect();
                format!("[{}]", parts.join(" "))
            }
            Self::Map(map) => {
                let mut text = "map[".to_owned();
                for (at, (name, value)) in map.iter().enumerate() {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{}{name}:{}", if at > 0 { " " } else { "" }, value.show());
                }
                text.push(']');
                text
            }
            Self::Time(ms) => crate::times::show_go(*ms),
        }
    }
}

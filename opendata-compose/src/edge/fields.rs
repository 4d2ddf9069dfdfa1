//! The fields of a JSON payload that expressions ask for, read in one pass and without a tree of the rest.
//!
//! What they give is what the same paths give in the whole document: of a name that occurs twice the last one counts, and a
//! path that leads nowhere gives null.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

mod quick;

/// What stands at a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Leaf<'a> {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// An integer that is larger than any `i64`.
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    /// A list or an object.
    Other(Value),
}

impl Leaf<'_> {
    /// The number, if it is one.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::UInt(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(is) => Value::Bool(*is),
            Self::Int(number) => Value::from(*number),
            Self::UInt(number) => Value::from(*number),
            Self::Float(number) => Value::from(*number),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Other(value) => value.clone(),
        }
    }
}

/// The paths that are asked for.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    root: Node,
    count: usize,
    /// Whether a path leads below a field of the payload.
    is_deep: bool,
}

#[derive(Debug, Default)]
struct Node {
    fields: Vec<(String, Self)>,
    /// Where the value that stands here goes.
    slot: Option<usize>,
}

impl Paths {
    /// Asks for a path. Returns its place among what [`read`](Self::read) gives.
    pub(crate) fn add(&mut self, path: &[String]) -> usize {
        self.is_deep |= path.len() != 1;
        let mut node = &mut self.root;
        for field in path {
            let at = match node.fields.iter().position(|(name, _)| name == field) {
                Some(at) => at,
                None => {
                    node.fields.push((field.clone(), Node::default()));
                    node.fields.len() - 1
                }
            };
            // It was found or put there.
            let Some((_, next)) = node.fields.get_mut(at) else { break };
            node = next;
        }
        *node.slot.get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        })
    }

    /// Reads a payload. What the paths give takes the place of what was in `found`.
    ///
    /// # Errors
    /// What is wrong with it, if it is no JSON.
    pub(crate) fn read<'a>(&self, payload: &'a [u8], found: &mut Vec<Leaf<'a>>) -> serde_json::Result<()> {
        found.clear();
        found.resize(self.count, Leaf::Null);
        if !self.is_deep && quick::read(&self.root, payload, found).is_some() {
            return Ok(());
        }
        found.fill(Leaf::Null);
        let mut json = serde_json::Deserializer::from_slice(payload);
        Below { node: &self.root, found }.deserialize(&mut json)?;
        json.end()
    }
}

impl Node {
    /// Forgets what an earlier field of the same name gave.
    fn clear(&self, found: &mut [Leaf<'_>]) {
        if let Some(leaf) = self.slot.and_then(|slot| found.get_mut(slot)) {
            *leaf = Leaf::Null;
        }
        self.fields.iter().for_each(|(_, node)| node.clear(found));
    }

    /// Takes what is asked for from a value that was read as a whole.
    fn fill(&self, value: &Value, found: &mut [Leaf<'_>]) {
        for (name, node) in &self.fields {
            if let Some(value) = value.get(name) {
                node.fill(value, found);
            }
        }
        if let Some(leaf) = self.slot.and_then(|slot| found.get_mut(slot)) {
            *leaf = whole(value.clone());
        }
    }
}

/// A value that was read as a whole.
fn whole<'a>(value: Value) -> Leaf<'a> {
    match value {
        Value::Null => Leaf::Null,
        Value::Bool(is) => Leaf::Bool(is),
        Value::String(text) => Leaf::Text(Cow::Owned(text)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Leaf::Int(number),
            (None, Some(number), _) => Leaf::UInt(number),
            (None, None, Some(number)) => Leaf::Float(number),
            (None, None, None) => Leaf::Null,
        },
        other => Leaf::Other(other),
    }
}

/// Reads one value, and takes what a node asks for.
struct Below<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut [Leaf<'a>],
}

impl<'a> DeserializeSeed<'a> for Below<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        match (self.node.slot, self.node.fields.is_empty()) {
            (Some(slot), true) => {
                let leaf = json.deserialize_any(OfLeaf)?;
                if let Some(place) = self.found.get_mut(slot) {
                    *place = leaf;
                }
                Ok(())
            }
            (Some(_), false) => {
                let value = Value::deserialize(json)?;
                self.node.fill(&value, self.found);
                Ok(())
            }
            (None, _) => json.deserialize_any(self),
        }
    }
}

/// An object whose fields are asked for; in anything else there are none.
impl<'a> Visitor<'a> for Below<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(at) = map.next_key_seed(OfName(self.node))? {
            match at.and_then(|at| self.node.fields.get(at)) {
                Some((_, node)) => {
                    node.clear(self.found);
                    map.next_value_seed(Below { node, found: &mut *self.found })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// The name of a field, as its place in a node; none if nobody asks for it.
struct OfName<'n>(&'n Node);

impl<'a> DeserializeSeed<'a> for OfName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for OfName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.fields.iter().position(|(field, _)| field == name))
    }
}

/// A value that is asked for itself.
struct OfLeaf;

impl<'a> Visitor<'a> for OfLeaf {
    type Value = Leaf<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Bool(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Leaf<'a>, E> {
        Ok(i64::try_from(number).map_or(Leaf::UInt(number), Leaf::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<Leaf<'a>, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Leaf::Other)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, list: A) -> Result<Leaf<'a>, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(list)).map(Leaf::Other)
    }
}

#[cfg(test)]
mod tests;

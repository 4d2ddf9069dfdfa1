//! Expressions over a record: CEL, and a short way for plain paths such as `payload.tenant`.
//!
//! A plain path to a field that is not there gives null; the same path inside a larger expression is an error of the record, and
//! `has(payload.tenant)` asks for it. Numbers of JSON are `int` if they are integers, and `double` otherwise.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::Expr as Ast;
use cel::objects::{Key, Map};
use cel::{Context, Env, Program};
use opendata_core::{Error, Result, Timestamp};
use serde_json::Value;

use super::fields::{Leaf, Paths};
use super::item::{Field, Item};

mod typing;

pub(crate) use typing::{Type, expect};

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The names that an expression may use.
const NAMES: [&str; 6] = ["payload", "stream", "headers", "position", "event_time", "ingest_time"];

/// The functions that an expression may call, beside operators and macros.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// An expression that was read.
pub(crate) struct Expr {
    text: String,
    program: Program,
    /// The fields below the payload, if it is nothing but a path to one.
    path: Option<Vec<String>>,
    /// The place of that field among those that are read together.
    slot: Option<usize>,
    /// What it gives, if it is the same for every record.
    constant: Option<Value>,
    names: Vec<&'static str>,
}

impl Expr {
    /// Reads an expression. `field` says where it stands in the specification.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self> {
        let program = STANDARD.compile(text).map_err(|errors| {
            let errors = errors.to_string();
            let first = errors.lines().next().unwrap_or("cannot be read").to_owned();
            Error::invalid(format!("the expression of {field} cannot be read: {first}, expression={text}"))
        })?;
        let references = program.references();
        let mut bound = Vec::new();
        typing::bound_names(&program.expression().expr, &mut bound);
        let known = |name: &&str| NAMES.contains(name) || name.starts_with('@') || bound.iter().any(|own| own == name);
        let unknown = references.variables().into_iter().find(|name| !known(name));
        if let Some(name) = unknown {
            return Err(Error::invalid(format!(
                "the expression of {field} uses an unknown name, name={name}, known={}",
                NAMES.join(" ")
            )));
        }
        let is_operator = |name: &str| !name.starts_with(|c: char| c.is_ascii_alphabetic());
        let unknown = references.functions().into_iter().find(|name| !is_operator(name) && !FUNCTIONS.contains(name));
        if let Some(name) = unknown {
            return Err(Error::invalid(format!(
                "the expression of {field} calls an unknown function, name={name}, known={}",
                FUNCTIONS.join(" ")
            )));
        }
        let names = NAMES.into_iter().filter(|name| references.has_variable(name)).collect();
        let path = plain_path(&program.expression().expr);
        let constant = match &program.expression().expr {
            Ast::Literal(_) => program.execute(&Context::with_env(Arc::clone(&STANDARD))).ok(),
            _ => None,
        };
        let constant = constant.and_then(|value| value.json().ok());
        Ok(Self { text: text.to_owned(), names, path, slot: None, constant, program })
    }

    /// Whether it needs the whole payload.
    pub(crate) fn needs_whole(&self) -> bool {
        match &self.path {
            Some(path) => path.is_empty(),
            None => self.names.contains(&"payload"),
        }
    }

    /// Gives its field a place among those that are read together.
    pub(crate) fn join(&mut self, paths: &mut Paths) {
        self.slot = self.path.as_ref().filter(|path| !path.is_empty()).map(|path| paths.add(path));
    }

    /// What it gives for a record.
    pub(crate) fn value(&self, item: &Item<'_>) -> Result<Value, String> {
        Ok(match self.look(item)? {
            Found::Field(Field::Read(leaf)) => leaf.to_value(),
            Found::Field(Field::Made(value)) => value.cloned().unwrap_or(Value::Null),
            Found::Constant(value) => value.clone(),
            Found::Evaluated(value) => value,
        })
    }

    /// What it gives, without a copy where that can be.
    fn look<'i, 'a>(&'i self, item: &'i Item<'a>) -> Result<Found<'i, 'a>, String> {
        match (&self.path, &self.constant) {
            (Some(path), _) => item.field(path, self.slot).map(Found::Field),
            (None, Some(constant)) => Ok(Found::Constant(constant)),
            (None, None) => self.evaluate(item).map(Found::Evaluated),
        }
    }

    /// What it gives, if it is true or false.
    pub(crate) fn is_true(&self, item: &Item<'_>) -> Result<bool, String> {
        match self.value(item)? {
            Value::Bool(is) => Ok(is),
            other => Err(format!("{} is neither true nor false: {}", self.text, brief(&other))),
        }
    }

    /// What it gives, if it is a finite number.
    pub(crate) fn number(&self, item: &Item<'_>) -> Result<f64, String> {
        let number = match self.look(item)? {
            Found::Field(Field::Read(leaf)) => leaf.as_f64(),
            Found::Field(Field::Made(value)) => value.and_then(Value::as_f64),
            Found::Constant(value) => value.as_f64(),
            Found::Evaluated(value) => value.as_f64(),
        };
        number.ok_or_else(|| match self.value(item) {
            Ok(other) => format!("{} is no number: {}", self.text, brief(&other)),
            Err(error) => error,
        })
    }

    /// What it gives as the text of a label or an id; none for null.
    pub(crate) fn text<'i>(&'i self, item: &'i Item<'_>) -> Result<Option<Cow<'i, str>>, String> {
        let found = self.look(item)?;
        if let Found::Field(Field::Read(Leaf::Text(text))) = &found {
            let text: &'i str = text;
            return Ok(Some(Cow::Borrowed(text)));
        }
        let value = match found {
            Found::Field(Field::Read(leaf)) => leaf.to_value(),
            Found::Field(Field::Made(Some(Value::String(text)))) | Found::Constant(Value::String(text)) => {
                return Ok(Some(Cow::Borrowed(text)));
            }
            Found::Field(Field::Made(value)) => value.cloned().unwrap_or(Value::Null),
            Found::Constant(value) => value.clone(),
            Found::Evaluated(value) => value,
        };
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.into())),
            Value::Bool(is) => Ok(Some(is.to_string().into())),
            Value::Number(number) => Ok(Some(number.to_string().into())),
            other => Err(format!("{} is no text: {}", self.text, brief(&other))),
        }
    }

    /// What it gives, if it is a time.
    pub(crate) fn time(&self, item: &Item<'_>) -> Result<Timestamp, String> {
        if let Found::Field(Field::Read(Leaf::Int(ms))) = self.look(item)? {
            return Ok(Timestamp(*ms));
        }
        let value = self.value(item)?;
        time_of(&value).ok_or_else(|| format!("{} is no time: {}", self.text, brief(&value)))
    }

    fn evaluate(&self, item: &Item<'_>) -> Result<Value, String> {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        for name in &self.names {
            let value = match *name {
                "payload" => to_cel(item.json()?),
                "stream" => cel::Value::from(item.stream_text().into_owned()),
                "headers" => headers(item),
                "position" => cel::Value::Int(i64::try_from(item.record.position.0).unwrap_or(i64::MAX)),
                "event_time" => cel::Value::Int(item.event_time.0),
                _ => cel::Value::Int(item.record.ingest_time.0),
            };
            context.add_variable_from_value(*name, value);
        }
        let value = self.program.execute(&context).map_err(|error| format!("{}: {error}", self.text))?;
        if let cel::Value::Float(number) = value
            && !number.is_finite()
        {
            return Err(format!("{} is not finite", self.text));
        }
        value.json().map_err(|_| format!("{} has no JSON form", self.text))
    }
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expr({})", self.text)
    }
}

/// A time: milliseconds since the Unix epoch, or an RFC 3339 text.
pub(crate) fn time_of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => number.as_i64().map(Timestamp),
        Value::String(text) => {
            let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            Some(Timestamp(parsed.timestamp_millis()))
        }
        _ => None,
    }
}

/// The fields of `payload.a.b`, if that is all there is.
fn plain_path(ast: &Ast) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut ast = ast;
    loop {
        match ast {
            Ast::Ident(name) if name == "payload" => {
                fields.reverse();
                return Some(fields);
            }
            Ast::Select(select) if !select.test => {
                fields.push(select.field.clone());
                ast = &select.operand.expr;
            }
            _ => return None,
        }
    }
}

/// What an expression gives, wherever that stands.
enum Found<'i, 'a> {
    Field(Field<'i, 'a>),
    Constant(&'i Value),
    Evaluated(Value),
}

fn headers(item: &Item<'_>) -> cel::Value {
    let mut map = HashMap::new();
    for (name, value) in item.record.headers.iter() {
        let text = String::from_utf8_lossy(value).into_owned();
        // Of several with one name the first counts, as in `Headers::get`.
        map.entry(Key::from(name)).or_insert_with(|| cel::Value::from(text));
    }
    cel::Value::Map(Map { map: Arc::new(map) })
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(is) => cel::Value::Bool(*is),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(elements) => cel::Value::List(Arc::new(elements.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map = fields.iter().map(|(name, value)| (Key::from(name.as_str()), to_cel(value)));
            cel::Value::Map(Map { map: Arc::new(map.collect()) })
        }
    }
}

/// The beginning of a value, for messages.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests;

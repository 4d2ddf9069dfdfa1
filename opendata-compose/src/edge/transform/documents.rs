//! The last step `to_documents`: documents with texts, attributes and vectors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::Result;
use opendata_vector::{Document, Value as Attribute};
use serde_json::Value;

use super::{Output, Outputs};
use crate::edge::embed::Embedder;
use crate::edge::expr::{Expr, Type, brief, expect};
use crate::edge::item::Item;
use crate::edge::schema::Schema;
use crate::edge::spec::{Documents, EmbedderSpec, VectorOf};

/// How many texts are embedded at a time.
const EMBED_BATCH: usize = 64;

pub(super) struct DocumentsStep {
    id: Expr,
    texts: Vec<(String, Expr)>,
    attributes: Vec<(String, Expr)>,
    values: Vec<(String, Expr)>,
    embedded: Vec<(String, Expr, Arc<dyn Embedder>)>,
    delete_when: Option<Expr>,
}

/// A document whose embedded vectors are still to come.
pub(super) enum Draft {
    Delete(Bytes),
    Upsert(Box<Document>, Vec<Option<String>>),
}

impl DocumentsStep {
    pub(super) fn new(
        documents: &Documents,
        open: &dyn Fn(&EmbedderSpec) -> Result<Arc<dyn Embedder>>,
    ) -> Result<Self> {
        let parse = |what: &str, text: &str| Expr::parse(&format!("to_documents.{what}"), text);
        let all = |what: &str, fields: &BTreeMap<String, String>| {
            let parse = |(name, text): (&String, &String)| Ok((name.clone(), parse(&format!("{what}.{name}"), text)?));
            fields.iter().map(parse).collect::<Result<Vec<_>>>()
        };
        let (mut values, mut embedded) = (Vec::new(), Vec::new());
        for (name, from) in &documents.vectors {
            match from {
                VectorOf::Value(text) => values.push((name.clone(), parse(&format!("vectors.{name}"), text)?)),
                VectorOf::Embed { text, with } => {
                    embedded.push((name.clone(), parse(&format!("vectors.{name}.text"), text)?, open(with)?));
                }
            }
        }
        Ok(Self {
            id: parse("id", &documents.id)?,
            texts: all("texts", &documents.texts)?,
            attributes: all("attributes", &documents.attributes)?,
            values,
            embedded,
            delete_when: documents.delete_when.as_ref().map(|text| parse("delete_when", text)).transpose()?,
        })
    }

    /// All its expressions.
    pub(super) fn expressions(&mut self) -> impl Iterator<Item = &mut Expr> {
        let named = self.texts.iter_mut().chain(&mut self.attributes).chain(&mut self.values).map(|(_, expr)| expr);
        let embedded = self.embedded.iter_mut().map(|(_, expr, _)| expr);
        std::iter::once(&mut self.id).chain(named).chain(embedded).chain(&mut self.delete_when)
    }

    pub(super) fn check(&self, schema: Option<&Schema>) -> Result<()> {
        expect("to_documents.id", &self.id, schema, &Type::Text)?;
        for (name, expr) in &self.texts {
            expect(&format!("to_documents.texts.{name}"), expr, schema, &Type::Text)?;
        }
        for (name, expr) in &self.attributes {
            expect(&format!("to_documents.attributes.{name}"), expr, schema, &Type::Any)?;
        }
        for (name, expr) in &self.values {
            expect(&format!("to_documents.vectors.{name}"), expr, schema, &Type::List)?;
        }
        for (name, expr, _) in &self.embedded {
            expect(&format!("to_documents.vectors.{name}.text"), expr, schema, &Type::Text)?;
        }
        self.delete_when.as_ref().map_or(Ok(()), |expr| expect("to_documents.delete_when", expr, schema, &Type::Bool))
    }

    pub(super) fn draft(&self, item: &Item<'_>) -> Result<Draft, String> {
        let id = self.id.text(item)?.filter(|id| !id.is_empty()).ok_or("the document has no id")?.into_owned();
        if let Some(expr) = &self.delete_when
            && expr.is_true(item)?
        {
            return Ok(Draft::Delete(id.into()));
        }
        let mut document = Document::new(id);
        for (name, expr) in &self.texts {
            if let Some(text) = expr.text(item)? {
                document = document.text(name, text.into_owned());
            }
        }
        for (name, expr) in &self.attributes {
            if let Some(value) = attribute(&expr.value(item)?).map_err(|what| format!("attribute {name} {what}"))? {
                document = document.attribute(name, value);
            }
        }
        for (name, expr) in &self.values {
            match expr.value(item)? {
                Value::Null => {}
                Value::Array(numbers) => document = document.vector(name, numbers_of(name, &numbers)?),
                other => return Err(format!("vector {name} is no list: {}", brief(&other))),
            }
        }
        let texts = self.embedded.iter().map(|(_, expr, _)| Ok(expr.text(item)?.map(Cow::into_owned)));
        let texts = texts.collect::<Result<_, String>>()?;
        Ok(Draft::Upsert(Box::new(document), texts))
    }

    /// Embeds what is to be embedded, field by field, many texts at a time.
    pub(super) async fn finish(&self, mut drafts: Vec<(usize, Draft)>, outputs: &mut Outputs) -> Result<()> {
        for (field, (name, _, embedder)) in self.embedded.iter().enumerate() {
            let texts = drafts.iter().enumerate().filter_map(|(at, (_, draft))| match draft {
                Draft::Upsert(_, texts) => Some((at, texts.get(field)?.clone()?)),
                Draft::Delete(_) => None,
            });
            let texts: Vec<(usize, String)> = texts.collect();
            for part in texts.chunks(EMBED_BATCH) {
                let only: Vec<String> = part.iter().map(|(_, text)| text.clone()).collect();
                let vectors = embedder.embed(&only).await?;
                for ((at, _), vector) in part.iter().zip(vectors) {
                    if let Some((_, Draft::Upsert(document, _))) = drafts.get_mut(*at) {
                        **document = std::mem::take(&mut **document).vector(name, vector);
                    }
                }
            }
        }
        for (index, draft) in drafts {
            outputs.push(
                index,
                match draft {
                    Draft::Delete(id) => Output::Delete(id),
                    Draft::Upsert(document, _) => Output::Upsert(document),
                },
            );
        }
        Ok(())
    }
}

fn numbers_of(name: &str, numbers: &[Value]) -> Result<Vec<f32>, String> {
    let number = |value: &Value| value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    let numbers: Option<Vec<f32>> = numbers.iter().map(number).collect();
    numbers.ok_or_else(|| format!("vector {name} holds something that is no finite number"))
}

/// The attribute that a JSON value is; none for null.
fn attribute(value: &Value) -> Result<Option<Attribute>, String> {
    let all = |elements: &[Value]| -> Option<Attribute> {
        if let Some(texts) = elements.iter().map(|v| v.as_str().map(str::to_owned)).collect() {
            return Some(Attribute::Strings(texts));
        }
        if let Some(numbers) = elements.iter().map(Value::as_i64).collect() {
            return Some(Attribute::I64s(numbers));
        }
        if let Some(numbers) = elements.iter().map(Value::as_f64).collect() {
            return Some(Attribute::F64s(numbers));
        }
        Some(Attribute::Bools(elements.iter().map(Value::as_bool).collect::<Option<_>>()?))
    };
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(is) => Attribute::Bool(*is),
        Value::String(text) => Attribute::String(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Attribute::I64(number),
            (None, Some(number)) => Attribute::F64(number),
            (None, None) => return Err("is no number".to_owned()),
        },
        Value::Array(elements) => all(elements).ok_or("holds values of several types")?,
        Value::Object(_) => return Err("is an object".to_owned()),
    }))
}

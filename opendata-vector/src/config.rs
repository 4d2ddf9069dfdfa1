//! Settings of a vector instance, stored with it in the slate.

use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::schema::{AttributeType, Schema, TextField, VectorField};

/// How many bits a dimension has in the codes that are searched first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeBits {
    /// Half a byte a dimension: less to read, more to rerank.
    Four,
    /// A byte a dimension.
    #[default]
    Eight,
}

/// Settings of a vector instance. The schema may only grow; everything else may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The fields of documents.
    pub schema: Schema,
    /// Vectors that wait for the index before maintenance drains them. Until then they are scanned exactly.
    /// 16 to 1,000,000; 4,096 by default. Of long vectors fewer: no more than are 1 MiB.
    pub tail_rows: u32,
    /// Ids that wait for the index at most: where maintenance does not keep up, the commit that finds so many drains a piece of
    /// them itself, and takes that much longer. Up to 16,000,000, and never less than `tail_rows`; 65,536 by default.
    pub tail_limit_rows: u32,
    /// Vectors a cell is made for. All cells are made anew whenever as many vectors have come as there were, or three times as many
    /// while more are coming; in between a cell is split at six times and dissolved at a fifth of that. 8 to 10,000; 200 by default.
    pub cell_rows: u32,
    /// Bits a dimension of new codes.
    pub code_bits: CodeBits,
    /// Bytes of recent vectors that the writer keeps in memory; 64 MiB by default.
    pub tail_bytes: u64,
    /// Bytes of the index that the writer keeps in memory for its readers; 256 MiB by default.
    pub cache_bytes: u64,
    /// Largest document: its texts, attributes and vectors together; 1 MiB by default, at most 16 MiB.
    pub max_document_bytes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schema: Schema::default(),
            tail_rows: 4096,
            tail_limit_rows: 65_536,
            cell_rows: 200,
            code_bits: CodeBits::default(),
            tail_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            max_document_bytes: 1 << 20,
        }
    }
}

impl Config {
    /// Default settings with a schema.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        Self { schema, ..Self::default() }
    }

    /// Adds a field of vectors.
    #[must_use]
    pub fn vector(mut self, name: &str, field: VectorField) -> Self {
        self.schema = self.schema.vector(name, field);
        self
    }

    /// Adds a field of sparse vectors.
    #[must_use]
    pub fn sparse(mut self, name: &str) -> Self {
        self.schema = self.schema.sparse(name);
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, of: AttributeType) -> Self {
        self.schema = self.schema.attribute(name, of);
        self
    }

    /// Adds a field of text.
    #[must_use]
    pub fn text(mut self, name: &str, field: TextField) -> Self {
        self.schema = self.schema.text(name, field);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.schema.validate()?;
        within("tail_rows", self.tail_rows.into(), 16, 1_000_000)?;
        within("tail_limit_rows", self.tail_limit_rows.into(), 16, 16_000_000)?;
        within("cell_rows", self.cell_rows.into(), 8, 10_000)?;
        within("tail_bytes", self.tail_bytes, 0, 1 << 40)?;
        within("cache_bytes", self.cache_bytes, 0, 1 << 40)?;
        within("max_document_bytes", self.max_document_bytes.into(), 1024, 16 << 20)
    }
}

fn within(setting: &str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "vector setting out of range, setting={setting}, value={value}, range={least}..={most}"
    )))
}

#[cfg(test)]
mod tests;

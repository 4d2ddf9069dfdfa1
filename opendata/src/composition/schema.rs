//! The JSON schema of composition files (draft 2020-12). What is a file is decided by the types; a test holds the schema to them.

/// The schema, as `opendata schema` prints it.
pub(crate) const SCHEMA: &str = include_str!("schema/schema.json");

#[cfg(test)]
mod tests;

//! Schemas lie with the log instance they describe, so that its clones carry them.
//!
//! ```text
//! state `schema`, key: version u32  -> layout 1 | declaration, JSON
//! cursor `schema`                   -> layout 1 | newest version, varint
//! ```

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::slate::{Handle, Slate, View};
use opendata_core::{Error, Result};
use opendata_log::Log;

use super::{Schema, SchemaSpec};

const NAME: &str = "schema";
const LAYOUT: u8 = 1;

/// Whether a version that is not compatible may be registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// It is refused.
    #[default]
    Compatible,
    /// It is registered: edges that read the log stop until they are given another generation.
    Breaking,
}

/// The newest schema of a log instance; none if it has none.
///
/// # Errors
/// `NotFound` if there is no such instance; what the store returned.
pub async fn latest(view: &View, instance: &str) -> Result<Option<Schema>> {
    let Some(version) = view.cursor(instance, NAME).await? else { return Ok(None) };
    let version = decode_version(&version)?;
    let value = view.state(instance, NAME, &version.to_be_bytes()).await?;
    let value = value.ok_or_else(|| Error::corrupt(format!("a schema is missing, version={version}")))?;
    decode(version, &value).map(Some)
}

/// Registers a schema as the next version of a log instance's. What is there already is not registered again.
///
/// # Errors
/// `Conflict` if it is not compatible, or if somebody else was faster; what committing returned.
pub async fn register(slate: &Slate, log: &Handle<Log>, spec: SchemaSpec, how: Registration) -> Result<Schema> {
    let view = slate.view();
    let newest = latest(&view, log.name()).await?;
    let version = newest.as_ref().map_or(1, |newest| newest.version() + 1);
    let schema = Schema::new(version, spec)?;
    if let Some(newest) = newest {
        if newest.spec() == schema.spec() {
            return Ok(newest);
        }
        match how {
            Registration::Compatible => newest.accepts(&schema)?,
            Registration::Breaking => {}
        }
    }
    let json = serde_json::to_vec(schema.spec())
        .map_err(|error| Error::invalid("the schema has no JSON form").with_source(error))?;
    let mut value = Encoder::new(LAYOUT);
    value.raw(&json);
    let mut tx = slate.begin();
    // What records look like is no record: a fork that is promoted loses nothing by it.
    tx.mark_derived();
    tx.put_state(log, NAME, Bytes::copy_from_slice(&version.to_be_bytes()), value.finish());
    tx.move_cursor(log, NAME, view.cursor(log.name(), NAME).await?, encode_version(version));
    tx.commit().await?;
    Ok(schema)
}

/// Registers the schemas that the instances of a slate are declared with, by name. A declaration that is gone leaves the schema in place.
///
/// # Errors
/// Those of [`register`], naming the instance.
pub async fn register_declared(slate: &Slate, declared: &[(&str, &SchemaSpec)], how: Registration) -> Result<()> {
    for (instance, schema) in declared {
        let log = slate.get::<Log>(instance)?;
        let registered = register(slate, &log, (*schema).clone(), how).await;
        registered.map_err(|error| error.context(format_args!("schema of instance {instance}")))?;
    }
    Ok(())
}

fn encode_version(version: u32) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    value.varint(u64::from(version));
    value.finish()
}

fn decode_version(value: &[u8]) -> Result<u32> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let version = u32::try_from(fields.varint()?).map_err(|_| Error::corrupt("the version of a schema"))?;
    fields.finish()?;
    Ok(version)
}

fn decode(version: u32, value: &[u8]) -> Result<Schema> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let spec: SchemaSpec = serde_json::from_slice(fields.rest())
        .map_err(|error| Error::corrupt("a schema cannot be read").with_source(error))?;
    Schema::new(version, spec)
}

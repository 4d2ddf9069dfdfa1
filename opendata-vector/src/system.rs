//! Vector as a system that lives in a slate.

use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::SystemId;
use opendata_core::slate::InstanceView;
use opendata_core::{DataSystem, Error, Result};

use crate::cell::calibration::Calibration;
use crate::cell::table::Table;
use crate::cell::{self, Cell};
use crate::config::Config;
use crate::key::Key;
use crate::op::Op;
use crate::reader::Reader;
use crate::record::{self, Counters, Stored, Sweep, column, page};
use crate::sparse::Weight;
use crate::writer::Writer;
use crate::{maintain, postings, text};

/// The vector database: documents of vectors, attributes and texts.
#[derive(Debug)]
pub struct Vector;

impl DataSystem for Vector {
    const ID: SystemId = SystemId::VECTOR;
    const NAME: &'static str = "vector";
    const VERSION: u8 = 1;

    type Config = Config;
    type Writer = Writer;
    type Reader = Reader;

    fn validate(config: &Config) -> Result<()> {
        config.validate()
    }

    fn reconfigure(old: &Config, new: &Config) -> Result<()> {
        new.validate()?;
        old.schema.may_become(&new.schema)
    }

    async fn recover(view: InstanceView<Self>, env: Env) -> Result<Writer> {
        Writer::recover(view, env).await
    }

    fn reader(view: InstanceView<Self>) -> Reader {
        Reader::new(view)
    }

    fn merge(key: &[u8], existing: Option<&[u8]>, operands: &[Bytes]) -> Result<Bytes> {
        let values: Vec<&[u8]> = existing.into_iter().chain(operands.iter().map(|operand| &**operand)).collect();
        match Key::decode(key)? {
            Key::Dead(_) | Key::Attr { .. } | Key::Has { .. } => record::merge_bitmaps(key, &values),
            Key::Cell { .. } => cell::merge(key, &values),
            Key::Vec { .. } | Key::Docs(_) => page::merge(key, &values),
            Key::Num { .. } => column::merge(key, &values),
            Key::Term { .. } => text::merge(key, &values),
            Key::Sparse { .. } => postings::merge::<Weight>(key, &values),
            _ => Err(Error::corrupt_at(key, "a record that is never merged")),
        }
    }

    async fn maintain(view: InstanceView<Self>) -> Result<Option<Op>> {
        maintain::plan(view).await
    }

    fn describe(key: &[u8], value: &[u8]) -> Result<String> {
        let decoded = Key::decode(key)?;
        Ok(match &decoded {
            Key::Counters => format!("{:?}", Counters::decode(key, value)?),
            Key::Table(field) => {
                let table = Table::decode(key, value)?;
                let (cells, rows) = (table.cells.len(), table.rows());
                format!(
                    "table field={field} epoch={} cells={cells} rows={rows} drained_to={}",
                    table.epoch, table.drained_to
                )
            }
            Key::Sweep => format!("{:?}", Sweep::decode(key, value)?),
            Key::Calibration(field) => {
                format!("calibration field={field} {:?}", Calibration::decode(key, value)?)
            }
            Key::Id(id) => format!("id {} -> {}", id.escape_ascii(), record::decode_id(key, value)?),
            Key::Doc(id) => format!("document {id} {:?}", Stored::decode(key, value)?),
            Key::Dead(_) | Key::Gone(_) | Key::Attr { .. } | Key::Has { .. } => {
                format!("{decoded:?} ids={}", record::decode_bitmap(key, value)?.len())
            }
            Key::Cell { field, cell } => {
                format!("cell field={field} cell={cell} rows={}", Cell::decode(key, value)?.ids().count())
            }
            Key::Term { field, term, chunk } => {
                let postings = text::decode(key, value)?.len();
                format!("term field={field} term={term} chunk={chunk} postings={postings}")
            }
            Key::Num { name, chunk } => {
                let numbers = column::decode(key, value)?.len();
                format!("numbers attribute={name} chunk={chunk} numbers={numbers}")
            }
            Key::Sparse { field, dimension, chunk } => {
                let postings = postings::decode::<Weight>(key, value)?.len();
                format!("sparse field={field} dimension={dimension} chunk={chunk} postings={postings}")
            }
            Key::Vec { .. } | Key::Docs(_) => {
                let (mut alive, mut dead) = (0, 0);
                let mut entries = page::Entries::new(key, value)?;
                while let Some((_, entry)) = entries.next(key)? {
                    *(if entry.is_some() { &mut alive } else { &mut dead }) += 1;
                }
                format!("{decoded:?} alive={alive} dead={dead} size_bytes={}", value.len())
            }
            Key::Centroid { field, cell } => format!("centroid field={field} cell={cell} size_bytes={}", value.len()),
        })
    }
}

#[cfg(test)]
mod tests;

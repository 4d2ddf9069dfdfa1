//! Where the bytes of an instance go: its records by kind, and within chunks the columns by how they are written.

use std::collections::BTreeMap;

use opendata_core::Result;
use opendata_core::key::{KeyRange, SegmentId};
use opendata_core::slate::{Access, Amount};

use super::{Reader, corrupt_row};
use crate::chunk::{self, Scratch};
use crate::key::Key;

/// Records of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// How many.
    pub count: u64,
    /// Bytes of their keys, with the prefix that files share among neighbours.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What an instance holds at a view, before files compress it or keep what was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// By kind, as `docs/format.md` calls them.
    pub records: BTreeMap<&'static str, Records>,
    /// Samples in chunks.
    pub samples: u64,
    /// Parts of chunks: their heads, their times and their values by how they are written. Counted are chunks.
    pub parts: BTreeMap<&'static str, Amount>,
}

impl Reader {
    /// Reads every record of the instance once, to say what they take.
    ///
    /// # Errors
    /// What reading returned, or `Corrupt` with the key of a record that cannot be read.
    pub async fn breakdown(&self) -> Result<Breakdown> {
        let mut breakdown = Breakdown::default();
        let mut scratch = Scratch::default();
        // The prefix without its segment: all of the instance.
        let prefix = self.view.prefix(SegmentId::CONTROL).encode();
        let whole = KeyRange::prefix(prefix.first_chunk::<4>().map_or(&[], |instance| instance.as_slice()));
        let mut rows = self.index.rows(whole, Access::Bulk).await?;
        while let Some(row) = rows.next().await? {
            let kind = match Key::decode(&row.key) {
                Ok(key) => name(&key),
                Err(_) => "CORE",
            };
            let records = breakdown.records.entry(kind).or_default();
            records.count += 1;
            records.key_bytes += row.key.len() as u64;
            records.value_bytes += row.value.len() as u64;
            if kind == "DATA" {
                breakdown.measure(&row.value, &mut scratch).map_err(corrupt_row(&row.key))?;
            }
        }
        Ok(breakdown)
    }
}

impl Breakdown {
    fn measure(&mut self, row: &[u8], scratch: &mut Scratch) -> Result<()> {
        let mut columns = 0;
        for chunk in chunk::chunks(row)? {
            let chunk = chunk?;
            self.samples += chunk.count as u64;
            for (part, bytes) in chunk.measure(scratch)? {
                self.parts.entry(part).or_default().add(bytes as u64);
                columns += bytes;
            }
        }
        self.parts.entry("head").or_default().add(row.len().saturating_sub(columns) as u64);
        Ok(())
    }
}

fn name(key: &Key) -> &'static str {
    match key {
        Key::Slab { .. } => "SLAB",
        Key::Bucket { .. } => "BUCKET",
        Key::Sealing { .. } => "SEALING",
        Key::Live => "LIVE",
        Key::Total { .. } => "TOTAL",
        Key::Sampled { .. } => "SAMPLED",
        Key::Metadata { .. } => "METADATA",
        Key::Deletion { .. } => "DELETION",
        Key::Due { .. } => "DUE",
        Key::Rolled { .. } => "ROLLED",
        Key::Rollup { .. } => "ROLLUP",
        Key::Forward { .. } => "FORWARD",
        Key::Posting { .. } => "POSTING",
        Key::Name { .. } => "NAME",
        Key::Data { .. } => "DATA",
        Key::Exemplar { .. } => "EXEMPLAR",
        Key::Source { .. } => "SOURCE",
    }
}

//! `NAME`: a label name of a bucket, with a sketch of how many values it has.
//!
//! ```text
//! layout 1 · up to 64 hashes u64, ascending
//! ```
//! The sketch keeps the 64 smallest hashes of the values ("k minimum values", Bar-Yossef et al. 2002): the exact number
//! below 64, else within about 13 %. Merging unites and keeps the smallest, which is associative and takes a value
//! twice without harm.

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::codec::{Decoder, Encoder};

const LAYOUT: u8 = 1;
const KEPT: usize = 64;

/// A sketch of a set of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sketch(Vec<u64>);

impl Sketch {
    pub(crate) fn insert(&mut self, value: &str) {
        self.insert_hash(hash(value.as_bytes()));
    }

    fn insert_hash(&mut self, hash: u64) {
        if let Err(at) = self.0.binary_search(&hash)
            && at < KEPT
        {
            self.0.insert(at, hash);
            self.0.truncate(KEPT);
        }
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        other.0.iter().for_each(|hash| self.insert_hash(*hash));
    }

    /// About how many different texts there are.
    pub(crate) fn estimate(&self) -> u64 {
        let Some(largest) = self.0.get(KEPT - 1) else { return self.0.len() as u64 };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let estimate = ((KEPT - 1) as f64 / (*largest as f64 / u64::MAX as f64)) as u64;
        estimate
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(LAYOUT, 1 + 8 * self.0.len());
        for hash in &self.0 {
            value.u64(*hash);
        }
        value.finish()
    }

    /// Reads a sketch.
    ///
    /// # Errors
    /// `Corrupt` if the value cannot be read.
    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let mut sketch = Self::default();
        while !fields.rest().is_empty() {
            sketch.insert_hash(fields.u64()?);
        }
        Ok(sketch)
    }
}

/// FNV-1a with a last mix: these hashes are stored, so they can never change.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Unites sketches.
///
/// # Errors
/// `Corrupt` if a value cannot be read.
pub(crate) fn merge<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Bytes> {
    let mut union = Sketch::default();
    for value in values {
        union.unite(&Sketch::decode(value)?);
    }
    Ok(union.encode())
}

#[cfg(test)]
mod tests;

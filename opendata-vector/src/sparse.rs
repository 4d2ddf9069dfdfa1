//! Sparse vectors: a few weights of very many dimensions, found by posting lists.
//!
//! ```text
//! SPARSE   a posting list, see `postings`
//! posting  weight f32
//! bound    greatest weight f32 | least weight f32
//! ```

use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::postings::{self, top::Worth};

/// Most weights of one sparse vector.
pub const SPARSE_LIMIT: usize = 65_536;

/// A sparse vector: the weights of some dimensions, all others being zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparseVector {
    /// Which dimensions, each once.
    pub indices: Vec<u32>,
    /// Their weights, as many.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// The weights in the order of the dimensions, without zeros.
    pub(crate) fn entries(&self) -> Result<Vec<(u32, f32)>> {
        let (indices, values) = (self.indices.len(), self.values.len());
        if indices != values {
            return Err(Error::invalid(format!(
                "sparse vector has not as many indices as values, indices={indices}, values={values}"
            )));
        }
        if indices > SPARSE_LIMIT {
            return Err(Error::invalid(format!("sparse vector is too large, indices={indices}, limit={SPARSE_LIMIT}")));
        }
        let mut entries: Vec<(u32, f32)> = self.indices.iter().copied().zip(self.values.iter().copied()).collect();
        if let Some((index, _)) = entries.iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::invalid(format!("not a finite number, index={index}")));
        }
        entries.sort_unstable_by_key(|(index, _)| *index);
        if let Some([(index, _), _]) = entries.array_windows().find(|[a, b]| a.0 == b.0) {
            return Err(Error::invalid(format!("sparse vector has a dimension twice, index={index}")));
        }
        entries.retain(|(_, value)| *value != 0.0);
        Ok(entries)
    }
}

impl FromIterator<(u32, f32)> for SparseVector {
    fn from_iter<I: IntoIterator<Item = (u32, f32)>>(entries: I) -> Self {
        let (indices, values) = entries.into_iter().unzip();
        Self { indices, values }
    }
}

/// A document that has a weight in a dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weight {
    /// Low 16 bits of the id.
    pub(crate) low: u16,
    pub(crate) weight: f32,
}

pub(crate) fn write(weight: f32, to: &mut Encoder) {
    to.u32(weight.to_bits());
}

pub(crate) fn read(from: &mut Decoder<'_>) -> Result<f32> {
    let weight = f32::from_bits(from.u32()?);
    if weight.is_finite() { Ok(weight) } else { Err(Error::corrupt("weight is not a finite number")) }
}

impl postings::Posting for Weight {
    /// The greatest and the least weight.
    type Bound = (f32, f32);

    fn low(self) -> u16 {
        self.low
    }

    fn write(self, to: &mut Encoder) {
        write(self.weight, to);
    }

    fn read(low: u16, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self { low, weight: read(from)? })
    }

    fn bound(self) -> Self::Bound {
        (self.weight, self.weight)
    }

    fn widen(one: Self::Bound, other: Self::Bound) -> Self::Bound {
        (one.0.max(other.0), one.1.min(other.1))
    }

    fn write_bound((greatest, least): Self::Bound, to: &mut Encoder) {
        write(greatest, to);
        write(least, to);
    }

    fn read_bound(from: &mut Decoder<'_>) -> Result<Self::Bound> {
        Ok((read(from)?, read(from)?))
    }
}

/// The weight of a dimension in a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product(pub(crate) f64);

impl Worth<Weight> for Product {
    fn of(&self, posting: Weight) -> f64 {
        self.0 * f64::from(posting.weight)
    }

    fn at_most(&self, (greatest, least): (f32, f32)) -> (f64, f64) {
        let (a, b) = (self.0 * f64::from(greatest), self.0 * f64::from(least));
        (a.max(b), a.abs().max(b.abs()))
    }
}

#[cfg(test)]
mod tests;

//! Vectors in their stored forms.
//!
//! ```text
//! VEC  storage u8 | components
//!      1: f32 each | 2: f16 each | 3: scale f32, then i8 each, to be multiplied by the scale
//!      4: f32 in fewer bits: largest exponent u8 | signs and mantissas: 24 bits each | exponents: 4 bits each, the lower half of a
//!         byte first: how far below the largest, or 15: it stands behind | exponents that are farther below, u8 each
//! ```
//!
//! Form 4 is the same numbers, to the bit, in seven eighths of the room: the components of a vector are about as large as each
//! other. Where that does not hold they are stored as they are.

use bytes::Bytes;
use half::f16;
use opendata_core::{Error, Result};

use crate::schema::Storage;

/// An exponent that stands behind the others.
const FAR: u8 = 15;

/// A vector as it is stored.
pub(crate) fn encode(storage: Storage, vector: &[f32]) -> Bytes {
    let mut value = Vec::new();
    match storage {
        Storage::F32 => {
            // As much as is written, so that nothing is left to be given back.
            value.reserve_exact(packed_size(vector));
            pack(vector, &mut value);
            if value.len() > 1 + vector.len() * 4 {
                value.clear();
                value.push(1);
                vector.iter().for_each(|v| value.extend_from_slice(&v.to_le_bytes()));
            }
        }
        Storage::F16 => {
            value.push(2);
            vector.iter().for_each(|v| value.extend_from_slice(&f16::from_f32(*v).to_le_bytes()));
        }
        Storage::Int8 => {
            let largest = vector.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            value.push(3);
            value.extend_from_slice(&scale.to_le_bytes());
            value.extend(vector.iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8 as u8));
        }
    }
    value.into()
}

/// Appends a stored vector to `to`.
pub(crate) fn decode(key: &[u8], value: &[u8], dims: u32, to: &mut Vec<f32>) -> Result<()> {
    let wrong = || Error::corrupt_at(key, "vector of another size or storage");
    let dims = dims as usize;
    let (kind, components) = value.split_first().ok_or_else(wrong)?;
    match kind {
        1 if components.len() == dims * 4 => {
            to.extend(components.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        2 if components.len() == dims * 2 => {
            to.extend(components.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()));
        }
        3 if components.len() == dims + 4 => {
            let (scale, components) = components.split_first_chunk::<4>().ok_or_else(wrong)?;
            let scale = f32::from_le_bytes(*scale);
            to.extend(components.iter().map(|byte| f32::from(*byte as i8) * scale));
        }
        4 => unpack(components, dims, to).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    }
    Ok(())
}

/// Bytes of form 4.
fn packed_size(vector: &[f32]) -> usize {
    let largest = vector.iter().map(|v| exponent(*v)).max().unwrap_or(0);
    let far = vector.iter().filter(|v| largest - exponent(**v) >= FAR).count();
    2 + vector.len() * 3 + vector.len().div_ceil(2) + far
}

fn exponent(component: f32) -> u8 {
    (component.to_bits() >> 23) as u8
}

/// Form 4.
fn pack(vector: &[f32], to: &mut Vec<u8>) {
    let largest = vector.iter().map(|v| exponent(*v)).max().unwrap_or(0);
    to.extend_from_slice(&[4, largest]);
    for v in vector {
        let bits = v.to_bits();
        let [low, middle, high, _] = (bits & 0x007f_ffff | bits >> 8 & 0x0080_0000).to_le_bytes();
        to.extend_from_slice(&[low, middle, high]);
    }
    let below = |v: &f32| (largest - exponent(*v)).min(FAR);
    for pair in vector.chunks(2) {
        let [first, second] = [0, 1].map(|at| pair.get(at).map_or(0, below));
        to.push(first | second << 4);
    }
    to.extend(vector.iter().filter(|v| below(v) == FAR).map(|v| exponent(*v)));
}

fn unpack(components: &[u8], dims: usize, to: &mut Vec<f32>) -> Option<()> {
    let (largest, rest) = components.split_first()?;
    let (mantissas, rest) = rest.split_at_checked(dims * 3)?;
    let (below, far) = rest.split_at_checked(dims.div_ceil(2))?;
    let mut far = far.iter();
    let below = below.iter().flat_map(|pair| [pair & 15, pair >> 4]);
    for ([low, middle, high], below) in mantissas.as_chunks::<3>().0.iter().zip(below) {
        let exponent = if below == FAR { *far.next()? } else { largest.checked_sub(below)? };
        let bits = u32::from_le_bytes([*low, *middle, *high, 0]);
        to.push(f32::from_bits(bits & 0x007f_ffff | (bits & 0x0080_0000) << 8 | u32::from(exponent) << 23));
    }
    far.next().is_none().then_some(())
}

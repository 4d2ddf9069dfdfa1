//! Vectors in their stored forms.
//!
//! ```text
//! VEC  storage u8 | components
//!      1: f32 each | 2: f16 each | 3: scale f32, then i8 each, to be multiplied by the scale
//! ```

use bytes::Bytes;
use half::f16;
use opendata_core::{Error, Result};

use crate::schema::Storage;

/// A vector as it is stored.
pub(crate) fn encode(storage: Storage, vector: &[f32]) -> Bytes {
    let mut value = Vec::with_capacity(5 + vector.len() * 4);
    match storage {
        Storage::F32 => {
            value.push(1);
            vector.iter().for_each(|v| value.extend_from_slice(&v.to_le_bytes()));
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
        _ => return Err(wrong()),
    }
    Ok(())
}

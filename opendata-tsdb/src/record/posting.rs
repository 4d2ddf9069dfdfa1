//! `POSTING`: the ids of the series of a bucket that carry one label.
//!
//! ```text
//! layout 1: count u8 · the first id varint · distances to the next varint*     up to 8 ids
//! layout 2: a Roaring bitmap in its portable format                             more
//! ```
//! Merging unites. The result is canonical: it depends on the ids alone.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

const LIST: u8 = 1;
const BITMAP: u8 = 2;
const LONGEST_LIST: u64 = 8;

/// Writes ids.
pub(crate) fn encode(ids: &RoaringBitmap) -> Bytes {
    if ids.len() <= LONGEST_LIST {
        let mut value = Encoder::new(LIST);
        value.u8(u8::try_from(ids.len()).unwrap_or(u8::MAX));
        let mut last = 0;
        for id in ids {
            value.varint(u64::from(id - last));
            last = id;
        }
        return value.finish();
    }
    // Built anew, so that the containers do not depend on how the set came about.
    let mut canonical: RoaringBitmap = RoaringBitmap::from_sorted_iter(ids).unwrap_or_else(|_| ids.clone());
    canonical.optimize();
    let mut value = Vec::with_capacity(1 + canonical.serialized_size());
    value.push(BITMAP);
    // Writing to memory cannot fail.
    let _ = canonical.serialize_into(&mut value);
    value.into()
}

/// How many ids there are.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn count(value: &[u8]) -> Result<u64> {
    match value {
        [LIST, count, ..] => Ok(u64::from(*count)),
        _ => decode(value).map(|ids| ids.len()),
    }
}

/// Reads ids.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode(value: &[u8]) -> Result<RoaringBitmap> {
    let mut fields = Decoder::new(value);
    match fields.u8()? {
        LIST => {
            let mut ids = RoaringBitmap::new();
            let mut last = 0u32;
            for _ in 0..fields.u8()? {
                let step = u32::try_from(fields.varint()?).ok();
                last = step
                    .and_then(|step| last.checked_add(step))
                    .ok_or_else(|| Error::corrupt("series id in a posting list is out of range"))?;
                ids.insert(last);
            }
            fields.finish()?;
            Ok(ids)
        }
        BITMAP => RoaringBitmap::deserialize_from(fields.rest())
            .map_err(|error| Error::corrupt("posting list cannot be read").with_source(error)),
        layout => Err(Error::unsupported(format!("unknown layout of a posting list, layout={layout}"))),
    }
}

/// Unites posting lists.
///
/// # Errors
/// `Corrupt` if a value cannot be read.
pub(crate) fn merge<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Bytes> {
    let mut ids = RoaringBitmap::new();
    for value in values {
        ids |= decode(value)?;
    }
    Ok(encode(&ids))
}

#[cfg(test)]
mod tests;

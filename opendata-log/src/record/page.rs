//! A page of the sorted listing of a sealed segment's streams.
//!
//! ```text
//! layout 1 | count varint | for each stream, sorted: shared varint | bytes of the rest
//! ```

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::codec::Encoder;

use super::LAYOUT;
use super::group::{decode_names, encode_names};

/// Streams of a sealed segment, sorted; the first one is in the key as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) streams: Vec<Bytes>,
}

impl Page {
    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        encode_names(&mut value, &self.streams);
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        super::decode(key, value, |fields| decode_names(fields).map(|streams| Self { streams }))
    }
}

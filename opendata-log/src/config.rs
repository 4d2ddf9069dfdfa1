//! Settings of a log instance. They are stored with it in the slate, and all of them may change later.

use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

const KIB: u32 = 1024;
const MIB: u64 = 1024 * 1024;

/// Largest record that any configuration allows, in bytes: payload and headers together.
pub const RECORD_LIMIT_BYTES: u32 = 256 * KIB * KIB;

/// Longest stream name, in bytes. Any bytes will do, none at all as well.
pub const STREAM_NAME_LIMIT_BYTES: usize = 1024;

/// Whether chunks are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Stored as they are.
    None,
    /// LZ4, where a sample of the chunk shows that it pays.
    #[default]
    Lz4,
}

/// Settings of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A segment is closed when it holds this many bytes. It is also what a read in position order over
    /// many streams holds in memory, twice. 64 KiB to 4 GiB; 128 MiB by default.
    pub segment_bytes: u64,
    /// A segment is closed when it is this old, in milliseconds. Retention drops whole segments, so this
    /// bounds how much older than `retain_age_ms` a record may get. No limit by default.
    pub segment_age_ms: Option<u64>,
    /// A segment is closed when it holds this many streams: what bounds the writer's memory, which keeps
    /// about 100 bytes for each stream of the open segment and none for any other. 262,144 by default.
    pub segment_streams: u32,
    /// Records of one stream that are committed together share chunks of about this many bytes.
    /// 1 KiB to 1 MiB; 64 KiB by default.
    pub chunk_bytes: u32,
    /// Largest record, payload and headers together; 8 MiB by default, at most 256 MiB ([`RECORD_LIMIT_BYTES`]).
    pub max_record_bytes: u32,
    /// How chunks are compressed.
    pub compression: Compression,
    /// Records older than this many milliseconds (by ingest time) may be dropped. Kept for ever by default.
    pub retain_age_ms: Option<u64>,
    /// Segments are dropped, oldest first, while the log holds more bytes than this. No limit by default.
    pub retain_bytes: Option<u64>,
    /// A cursor that holds retention holds at most this many bytes; what lies further back is dropped all
    /// the same, counted and logged. No limit by default.
    pub hold_limit_bytes: Option<u64>,
    /// Producers that sent nothing for this many milliseconds are forgotten; 7 days by default.
    pub producer_idle_ms: u64,
    /// How many bytes of recent chunks the writer keeps for followers in its process; 16 MiB by default.
    pub ring_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 128 * MIB,
            segment_age_ms: None,
            segment_streams: 1 << 18,
            chunk_bytes: 64 * KIB,
            max_record_bytes: 8 * KIB * KIB,
            compression: Compression::default(),
            retain_age_ms: None,
            retain_bytes: None,
            hold_limit_bytes: None,
            producer_idle_ms: 7 * 24 * 3_600_000,
            ring_bytes: 16 * MIB,
        }
    }
}

impl Config {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// `Invalid`, naming the setting and its range.
    pub fn validate(&self) -> Result<()> {
        within("segment_bytes", self.segment_bytes, 64 * u64::from(KIB), 4096 * MIB)?;
        within("segment_streams", self.segment_streams.into(), 1, 1 << 24)?;
        within("chunk_bytes", self.chunk_bytes.into(), KIB.into(), MIB)?;
        within("max_record_bytes", self.max_record_bytes.into(), 1, RECORD_LIMIT_BYTES.into())?;
        within("ring_bytes", self.ring_bytes, 0, 1 << 40)?;
        if let Some(age) = self.segment_age_ms {
            within("segment_age_ms", age, 1, i64::MAX.unsigned_abs())?;
        }
        if let Some(age) = self.retain_age_ms {
            within("retain_age_ms", age, 1, i64::MAX.unsigned_abs())?;
        }
        within("producer_idle_ms", self.producer_idle_ms, 1, i64::MAX.unsigned_abs())
    }
}

fn within(setting: &str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("log setting out of range, setting={setting}, value={value}, range={least}..={most}")))
}

#[cfg(test)]
mod tests;

//! What the slate's own rows, which lie among a system's, say to whoever looks at them.

use super::cursor::CURSOR;
use super::direct::DIRECT;
use super::state::STATE;
use crate::error::Result;
use crate::key::{KeyReader, SegmentId};

/// So much of a key or a value is shown.
const SHOWN_BYTES: usize = 200;

/// A row of the slate's own in words; none if it is its system's.
pub(super) fn describe(key: &[u8], value: &[u8]) -> Result<Option<String>> {
    let (prefix, tag, mut fields) = KeyReader::new(key)?;
    if prefix.segment != SegmentId::CONTROL || !tag.is_core() {
        return Ok(None);
    }
    let said = match tag {
        CURSOR => format!("cursor {} at {}", name(&mut fields)?, shown(value)),
        STATE => {
            let name = name(&mut fields)?;
            format!("state {name}, key {}: {}", shown(fields.rest()), shown(value))
        }
        DIRECT => format!("written directly last at {}", super::direct::decode(key, value)?),
        _ => format!("{} bytes", value.len()),
    };
    Ok(Some(said))
}

fn name(fields: &mut KeyReader<'_>) -> Result<String> {
    Ok(fields.terminated()?.escape_ascii().to_string())
}

fn shown(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN_BYTES) {
        Some(beginning) => format!("{}.. ({} bytes)", beginning.escape_ascii(), bytes.len()),
        None => bytes.escape_ascii().to_string(),
    }
}

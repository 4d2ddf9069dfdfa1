//! Since when each sample of a chunk counts.
//!
//! ```text
//! form u8 · first signed varint · the others as an integer column
//! ```
//! Form 0, the start times themselves (milliseconds, 0: not known): those of a process stay the same and take no bits.
//! Form 1, their distances from the time of the sample before, of the first one from its own time: where each sample
//! counts from where the one before ended, these stay the same. The smaller form is written.

use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use super::Scratch;
use super::ints::{self, Effort};
use crate::columns::Samples;

const ALONE: u8 = 0;
const BEHIND_LAST: u8 = 1;

/// Writes the start times of samples.
pub(super) fn encode(out: &mut Encoder, samples: Samples<'_>) {
    let times = samples.times;
    let starts: Vec<i64> = (0..times.len()).map(|at| samples.start(at)).collect();
    let distances: Vec<i64> = starts.iter().zip(before(times)).map(|(start, time)| start.wrapping_sub(time)).collect();
    let column = |form: u8, column: &[i64]| {
        let mut out = Encoder::with_capacity(form, 16);
        out.signed(column.first().copied().unwrap_or(0));
        ints::encode(&mut out, column, Effort::Small);
        out
    };
    let (alone, behind) = (column(ALONE, &starts), column(BEHIND_LAST, &distances));
    out.raw(if behind.len() < alone.len() { behind.as_slice() } else { alone.as_slice() });
}

/// Appends the start times of the samples at these times to `out`.
///
/// # Errors
/// `Corrupt` if the bytes are no such column.
pub(super) fn decode(bytes: &mut Decoder<'_>, times: &[i64], scratch: &mut Scratch, out: &mut Vec<i64>) -> Result<()> {
    let form = bytes.u8()?;
    if form > BEHIND_LAST {
        return Err(Error::corrupt(format!("unknown form of start times, form={form}")));
    }
    let begin = out.len();
    let first = bytes.signed()?;
    ints::decode(bytes, first, times.len(), &mut scratch.words, out)?;
    if form == BEHIND_LAST {
        let distances = out.get_mut(begin..).unwrap_or_default();
        distances.iter_mut().zip(before(times)).for_each(|(start, time)| *start = start.wrapping_add(time));
    }
    Ok(())
}

/// The time of the sample before each; of the first one its own.
fn before(times: &[i64]) -> impl Iterator<Item = i64> {
    times.first().into_iter().chain(times).copied()
}

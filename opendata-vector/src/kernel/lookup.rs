//! Vectors by one, two or four bits a dimension: their inner products with a query, looked up.
//!
//! Thirty-two vectors stand side by side, each with half a byte for four, two dimensions or one, and tables of the query say what
//! each of the sixteen patterns of half a byte adds. So one shuffle of bytes looks up what many vectors have to add (André, Kermarrec
//! and Le Scouarnec, "Cache locality is not enough", 2015). Tables are of integers: the sums are the same on every machine.

use super::kernels;

/// Vectors side by side.
pub(crate) const ABREAST: usize = 32;
/// What is added to what stands in a table, so that it is never negative.
const RAISED: i32 = 124;
/// Tables whose bytes are summed in 16 bits: 256 * 2 * 124 is below 2^16.
pub(super) const PIECE: usize = 256;

/// Half a byte of thirty-two vectors: of the first sixteen in the low halves of the bytes, of the others in the high ones.
pub(crate) type Nibbles = [u8; 16];

/// For each pattern of half a byte what it adds to the inner product, raised.
pub(super) type Table = [u8; 16];

/// A query for codes of few bits. Of `bits` bits a code u stands for 2u - (2^bits - 1): for odd numbers around zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(super) tables: Vec<Table>,
    /// What an integer of the query stands for.
    pub(crate) scale: f32,
}

impl Tables {
    pub(crate) fn new(components: &[f32], bits: usize) -> Self {
        let (dims, levels) = (4 / bits, 1 << bits);
        let largest = (RAISED / (dims as i32 * (levels - 1))) as f32;
        let scale = components.iter().fold(0f32, |largest, c| largest.max(c.abs())) / largest;
        let integer = |at: usize| {
            let component = components.get(at).copied().unwrap_or(0.0);
            if scale > 0.0 { (component / scale).round().clamp(-largest, largest) as i32 } else { 0 }
        };
        let table = |group: usize| -> Table {
            std::array::from_fn(|pattern| {
                let odd = |at: usize| 2 * (pattern as i32 >> (at * bits) & (levels - 1)) - (levels - 1);
                let sum: i32 = (0..dims).map(|at| odd(at) * integer(group * dims + at)).sum();
                (sum + RAISED) as u8
            })
        };
        Self { tables: (0..groups(components.len(), bits)).map(table).collect(), scale }
    }

    /// What all tables together are raised by.
    pub(super) fn raised(&self) -> i32 {
        RAISED * self.tables.len() as i32
    }
}

/// Half bytes of a vector: an even number.
fn groups(dims: usize, bits: usize) -> usize {
    dims.div_ceil(4 / bits).next_multiple_of(2)
}

/// Codes of few bits side by side. `codes` has a byte for each dimension, row after row.
pub(crate) fn pack(codes: &[u8], dims: usize, bits: usize) -> Vec<Nibbles> {
    let groups = groups(dims, bits);
    let rows = codes.len() / dims.max(1);
    let mut packed = vec![Nibbles::default(); rows.div_ceil(ABREAST) * groups];
    for (row, code) in codes.chunks_exact(dims.max(1)).enumerate() {
        let (block, place) = (row / ABREAST * groups, row % ABREAST);
        let own = packed.get_mut(block..block + groups).unwrap_or_default();
        for (nibbles, some) in own.iter_mut().zip(code.chunks(4 / bits)) {
            let pattern = some.iter().rev().fold(0, |pattern, code| pattern << bits | code);
            if let Some(byte) = nibbles.get_mut(place % 16) {
                *byte |= pattern << (place / 16 * 4);
            }
        }
    }
    packed
}

/// Appends the inner product of the query's integers with each vector, up to whole blocks of [`ABREAST`].
pub(crate) fn lookup(packed: &[Nibbles], query: &Tables, to: &mut Vec<f32>) {
    (kernels().lookup)(packed, query, to);
}

/// The reference.
pub(super) fn plain(packed: &[Nibbles], query: &Tables, to: &mut Vec<f32>) {
    for block in packed.chunks_exact(query.tables.len().max(1)) {
        let mut sums = [-query.raised(); ABREAST];
        for (nibbles, table) in block.iter().zip(&query.tables) {
            let entry = |pattern: u8| i32::from(table.get(usize::from(pattern)).copied().unwrap_or(0));
            let (low, high) = sums.split_at_mut(16);
            for ((low, high), byte) in low.iter_mut().zip(high).zip(nibbles) {
                *low += entry(byte & 15);
                *high += entry(byte >> 4);
            }
        }
        to.extend(sums.iter().map(|sum| *sum as f32));
    }
}

//! Rows that are all compared with the same vectors, by columns: the components of [`COLUMN_ROWS`] rows in one dimension stand
//! together. So a vector meets that many rows at once, and no sum has to be taken across a register.

use super::kernels;

/// Rows that stand together.
pub(crate) const COLUMN_ROWS: usize = 64;

/// The inner products of a vector with the rows of a block.
pub(crate) type Dots = [f32; COLUMN_ROWS];

/// Rows by columns, and zeros up to a whole block.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    dims: usize,
    components: Vec<f32>,
}

impl Columns {
    pub(crate) fn new(rows: &[f32], dims: usize) -> Self {
        let block = COLUMN_ROWS * dims;
        let count = rows.len().checked_div(dims).unwrap_or(0);
        let mut components = vec![0.0; count.div_ceil(COLUMN_ROWS) * block];
        for (at, row) in rows.chunks_exact(dims.max(1)).enumerate() {
            let first = at / COLUMN_ROWS * block + at % COLUMN_ROWS;
            let places = components.get_mut(first..).unwrap_or_default().iter_mut().step_by(COLUMN_ROWS);
            places.zip(row).for_each(|(place, component)| *place = *component);
        }
        Self { dims, components }
    }

    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.components.len() * 4
    }

    /// The components of a block, by dimension.
    pub(crate) fn block(&self, block: usize) -> &[Dots] {
        self.components.as_chunks::<COLUMN_ROWS>().0.get(block * self.dims..(block + 1) * self.dims).unwrap_or_default()
    }

    /// The inner products of a vector with the rows of a block.
    pub(crate) fn dots(&self, block: usize, vector: &[f32]) -> Dots {
        (kernels().columns)(self.block(block), vector)
    }

    /// The same for four vectors. One that has no components has zeros.
    pub(crate) fn dots4(&self, block: usize, vectors: [&[f32]; 4]) -> [Dots; 4] {
        (kernels().columns4)(self.block(block), vectors)
    }
}

/// The reference: the compiler makes of it what it can.
pub(super) fn plain(columns: &[Dots], vector: &[f32]) -> Dots {
    let mut sums = [0.0; COLUMN_ROWS];
    for (column, component) in columns.iter().zip(vector) {
        sums.iter_mut().zip(column).for_each(|(sum, own)| *sum += own * component);
    }
    sums
}

pub(super) fn plain4(columns: &[Dots], vectors: [&[f32]; 4]) -> [Dots; 4] {
    vectors.map(|vector| plain(columns, vector))
}

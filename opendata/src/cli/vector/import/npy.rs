//! NumPy's `.npy`: one array of numbers.
//!
//! ```text
//! 0x93 "NUMPY" | major u8 | minor u8 | length of the header u16 (from version 2 on u32) | header: a Python dictionary |
//! numbers, row by row, or column by column where `fortran_order` says so
//! ```
//!
//! The format is described in NumPy Enhancement Proposal 1. The libraries that read it bring a whole parser of Python's
//! literals; the header of an array of numbers is three known entries.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use opendata_core::{Error, Result};

/// Longest header that is read.
const HEADER_LIMIT: usize = 1 << 20;
/// Rows that are read at a time where columns lie one after another.
const BLOCK_ROWS: u64 = 16_384;

/// The type of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    F16,
    F32,
    F64,
    I8,
}

/// A matrix, or a single row.
pub(super) struct Npy<R> {
    source: R,
    number: Number,
    pub(super) rows: u64,
    pub(super) columns: usize,
    read: u64,
    columnar: Option<Columnar>,
}

/// A matrix that is stored column by column: a block of rows at a time is read, a piece of each column.
struct Columnar {
    /// Where the numbers begin.
    begin: u64,
    /// Pieces of the columns, one after another.
    block: Vec<u8>,
    first: u64,
    rows: u64,
}

impl Npy<BufReader<File>> {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| {
            Error::invalid(format!("file cannot be read, file={}", path.display())).with_source(error)
        })?;
        Self::new(BufReader::with_capacity(1 << 20, file)).map_err(|e| e.context(path.display()))
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::invalid("the file ends too early, or cannot be read").with_source(error)
}

impl<R: Read + Seek> Npy<R> {
    /// Reads the header.
    pub(super) fn new(mut source: R) -> Result<Self> {
        let mut begin = [0; 8];
        source.read_exact(&mut begin).map_err(broken)?;
        let [magic @ .., major, _] = begin;
        if magic != *b"\x93NUMPY" {
            return Err(Error::invalid("not a NumPy file"));
        }
        let length = if major == 1 {
            let mut length = [0; 2];
            source.read_exact(&mut length).map_err(broken)?;
            usize::from(u16::from_le_bytes(length))
        } else {
            let mut length = [0; 4];
            source.read_exact(&mut length).map_err(broken)?;
            u32::from_le_bytes(length) as usize
        };
        if length > HEADER_LIMIT {
            return Err(Error::invalid(format!("header of the NumPy file is too long, size_bytes={length}")));
        }
        let mut header = vec![0; length];
        source.read_exact(&mut header).map_err(broken)?;
        let header = String::from_utf8_lossy(&header);
        let unsupported = |what: &str| Error::unsupported(format!("{what}, header={}", header.trim()));
        let number = match entry(&header, "descr").map(|text| text.trim_matches(['\'', '"'])) {
            Some("<f2") => Number::F16,
            Some("<f4") => Number::F32,
            Some("<f8") => Number::F64,
            Some("|i1") => Number::I8,
            _ => return Err(unsupported("the numbers are not f2, f4, f8 (little-endian) or i1")),
        };
        let is_columnar = match entry(&header, "fortran_order") {
            Some("False") => false,
            Some("True") => true,
            _ => return Err(unsupported("the header does not say in which order the numbers are")),
        };
        let shape = entry(&header, "shape").and_then(|shape| shape.strip_prefix('(')?.strip_suffix(')'));
        let shape: Option<Vec<u64>> = shape.and_then(|shape| {
            let numbers = shape.split(',').map(str::trim).filter(|number| !number.is_empty());
            numbers.map(|number| number.parse().ok()).collect()
        });
        let (rows, columns) = match shape.as_deref() {
            Some([columns]) => (1, *columns),
            Some([rows, columns]) => (*rows, *columns),
            _ => return Err(unsupported("not a matrix")),
        };
        let columns = usize::try_from(columns).ok().filter(|columns| (1..=1 << 20).contains(columns));
        let columns = columns.ok_or_else(|| unsupported("rows of this size are no vectors"))?;
        let columnar = if is_columnar && rows > 1 {
            let begin = source.stream_position().map_err(broken)?;
            Some(Columnar { begin, block: Vec::new(), first: 0, rows: 0 })
        } else {
            None
        };
        Ok(Self { source, number, rows, columns, read: 0, columnar })
    }

    fn number_bytes(&self) -> u64 {
        match self.number {
            Number::I8 => 1,
            Number::F16 => 2,
            Number::F32 => 4,
            Number::F64 => 8,
        }
    }

    pub(super) fn row_bytes(&self) -> u64 {
        self.columns as u64 * self.number_bytes()
    }

    /// The bytes of the next row, one number of each column.
    fn gathered(&mut self) -> Result<Vec<u8>> {
        let (size, row_bytes) = (self.number_bytes(), self.row_bytes());
        let mut row = Vec::with_capacity(row_bytes as usize);
        let Some(columnar) = &mut self.columnar else { return Ok(row) };
        if self.read >= columnar.first + columnar.rows {
            columnar.first = self.read;
            columnar.rows = BLOCK_ROWS.min(self.rows - self.read);
            let piece = (columnar.rows * size) as usize;
            columnar.block.resize(piece * self.columns, 0);
            for (column, piece) in (0u64..).zip(columnar.block.chunks_exact_mut(piece)) {
                let at = columnar.begin + (column * self.rows + self.read) * size;
                self.source.seek(SeekFrom::Start(at)).map_err(broken)?;
                self.source.read_exact(piece).map_err(broken)?;
            }
        }
        let at = ((self.read - columnar.first) * size) as usize;
        for piece in columnar.block.chunks_exact((columnar.rows * size) as usize) {
            row.extend_from_slice(piece.get(at..at + size as usize).unwrap_or_default());
        }
        Ok(row)
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<Vec<f32>>> {
        if self.read == self.rows {
            return Ok(None);
        }
        let bytes = match self.columnar.is_some() {
            true => self.gathered()?,
            false => {
                let mut bytes = vec![0; self.row_bytes() as usize];
                self.source.read_exact(&mut bytes).map_err(broken)?;
                bytes
            }
        };
        self.read += 1;
        Ok(Some(match self.number {
            Number::I8 => bytes.iter().map(|byte| f32::from(*byte as i8)).collect(),
            Number::F16 => bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
            Number::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Number::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        }))
    }
}

/// The value of an entry of the header, which ends where the next begins.
fn entry<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let at = header.find(&format!("'{name}'"))?;
    let value = header.get(at + name.len() + 2..)?.trim_start().strip_prefix(':')?.trim_start();
    let end = match value.starts_with('(') {
        true => value.find(')')? + 1,
        false => value.find([',', '}'])?,
    };
    value.get(..end).map(str::trim)
}

#[cfg(test)]
mod tests;

//! NumPy's `.npy`: one array of numbers.
//!
//! ```text
//! 0x93 "NUMPY" | major u8 | minor u8 | length of the header u16 (from version 2 on u32) | header: a Python dictionary |
//! numbers, row by row
//! ```
//!
//! The format is described in NumPy Enhancement Proposal 1. The libraries that read it bring a whole parser of Python's
//! literals; the header of an array of numbers is three known entries.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use opendata_core::{Error, Result};

/// Longest header that is read.
const HEADER_LIMIT: usize = 1 << 20;

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

impl<R: Read> Npy<R> {
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
        if entry(&header, "fortran_order") != Some("False") {
            return Err(unsupported("the matrix is not stored row by row"));
        }
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
        Ok(Self { source, number, rows, columns, read: 0 })
    }

    pub(super) fn row_bytes(&self) -> u64 {
        let size = match self.number {
            Number::I8 => 1,
            Number::F16 => 2,
            Number::F32 => 4,
            Number::F64 => 8,
        };
        self.columns as u64 * size
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<Vec<f32>>> {
        if self.read == self.rows {
            return Ok(None);
        }
        let mut bytes = vec![0; self.row_bytes() as usize];
        self.source.read_exact(&mut bytes).map_err(broken)?;
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

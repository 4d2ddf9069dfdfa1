//! Values: little-endian integers, LEB128 varints and length-prefixed bytes behind a leading layout byte.
//!
//! A [`Decoder`] checks every length before it reads, so that corrupt bytes are an error and never a panic.

use bytes::Bytes;

use crate::error::{Error, Result};

/// Appends fields to a value.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Begins a value with its layout byte.
    #[must_use]
    pub fn new(layout: u8) -> Self {
        Self { bytes: vec![layout] }
    }

    /// Begins a value with its layout byte and room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(layout: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(layout);
        Self { bytes }
    }

    /// One byte.
    pub fn u8(&mut self, field: u8) -> &mut Self {
        self.bytes.push(field);
        self
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, field: u16) -> &mut Self {
        self.raw(&field.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, field: u32) -> &mut Self {
        self.raw(&field.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, field: u64) -> &mut Self {
        self.raw(&field.to_le_bytes())
    }

    /// Eight bytes, little-endian two's complement.
    pub fn i64(&mut self, field: i64) -> &mut Self {
        self.raw(&field.to_le_bytes())
    }

    /// Eight bytes, the bits of the number, little-endian.
    pub fn f64(&mut self, field: f64) -> &mut Self {
        self.u64(field.to_bits())
    }

    /// Unsigned LEB128: seven bits a byte, lowest first; 1 to 10 bytes.
    pub fn varint(&mut self, field: u64) -> &mut Self {
        let mut rest = field;
        while rest >= 0x80 {
            self.bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
        self
    }

    /// A signed varint, zigzag-encoded.
    pub fn signed(&mut self, field: i64) -> &mut Self {
        self.varint(((field << 1) ^ (field >> 63)).cast_unsigned())
    }

    /// A varint length, then the bytes.
    pub fn bytes(&mut self, field: &[u8]) -> &mut Self {
        self.varint(field.len() as u64);
        self.raw(field)
    }

    /// Bytes as they are.
    pub fn raw(&mut self, field: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(field);
        self
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished value.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// Reads what an [`Encoder`] wrote.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads a value from its first byte on.
    #[must_use]
    #[inline]
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*field)
    }

    /// Reads the layout byte and checks it.
    ///
    /// # Errors
    /// `Corrupt` if the value is empty, `Unsupported` if the layout is not the one given.
    pub fn layout(&mut self, expected: u8) -> Result<()> {
        let layout = self.u8()?;
        if layout == expected {
            Ok(())
        } else {
            Err(Error::unsupported(format!("unknown record layout, expected={expected}, found={layout}")))
        }
    }

    /// Reads the layout byte where there is more than one layout: which of those given it is, counted from zero.
    ///
    /// # Errors
    /// `Corrupt` if the value is empty, `Unsupported` if the layout is none of those.
    pub fn layout_of(&mut self, known: &[u8]) -> Result<usize> {
        let layout = self.u8()?;
        let unknown = || Error::unsupported(format!("unknown record layout, expected={known:?}, found={layout}"));
        known.iter().position(|known| *known == layout).ok_or_else(unknown)
    }

    /// One byte.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value; so for all that follow.
    pub fn u8(&mut self) -> Result<u8> {
        let [byte] = self.take::<1>()?;
        Ok(byte)
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// Eight bytes, little-endian two's complement.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.take()?))
    }

    /// The bits of a number, little-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value.
    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// Unsigned LEB128.
    ///
    /// # Errors
    /// `Corrupt` at the end of the value, or if the number does not fit 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64> {
        // Most are one byte.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Error::corrupt("varint does not fit 64 bits"))
    }

    /// A zigzag-encoded varint.
    ///
    /// # Errors
    /// Those of [`varint`](Self::varint).
    #[inline]
    pub fn signed(&mut self) -> Result<i64> {
        let bits = self.varint()?;
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    /// A varint that counts things in memory.
    ///
    /// # Errors
    /// `Corrupt` if it does not fit `usize`.
    #[inline]
    pub fn count(&mut self) -> Result<usize> {
        usize::try_from(self.varint()?).map_err(|_| Error::corrupt("count does not fit memory"))
    }

    /// A varint length, then that many bytes.
    ///
    /// # Errors
    /// `Corrupt` if the value ends before.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.count()?;
        self.raw(length)
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// `Corrupt` if the value ends before.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or_else(ends)?;
        self.rest = rest;
        Ok(field)
    }

    /// What is left.
    #[must_use]
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `Corrupt` if there are bytes behind the last field.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::corrupt("bytes behind the last field")) }
    }
}

fn ends() -> Error {
    Error::corrupt("value ends inside a field")
}

#[cfg(test)]
mod tests;

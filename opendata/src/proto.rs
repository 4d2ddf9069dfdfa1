//! Protocol buffers, as far as remote write, remote read, scraping and federation need them: fields are read where they lie, and written in
//! the order of the calls (<https://protobuf.dev/programming-guides/encoding/>).

pub(crate) mod buckets;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a field is no bytes")),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(crate) fn double(self) -> Result<f64, Malformed> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Malformed("a field is no double")),
        }
    }

    pub(crate) fn unsigned(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed("a field is no integer")),
        }
    }

    /// An `int64`: two's complement.
    pub(crate) fn signed(self) -> Result<i64, Malformed> {
        self.unsigned().map(u64::cast_signed)
    }

    /// A `sint64`: zigzag.
    pub(crate) fn zigzag(self) -> Result<i64, Malformed> {
        self.unsigned().map(unzigzag)
    }

    /// A `sint32`, `uint32` or enumeration that must fit.
    pub(crate) fn small<T: TryFrom<i64>>(self, decode: fn(Self) -> Result<i64, Malformed>) -> Result<T, Malformed> {
        T::try_from(decode(self)?).map_err(|_| Malformed("a number is out of range"))
    }
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads the fields of a message, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field: its number and value. Groups, which nobody writes any more, are malformed.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("a field's number is out of range"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.take_array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed("a length is out of range"))?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.take_array()?)),
            _ => return Err(Malformed("a field is of an unknown kind")),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        if let [first, rest @ ..] = self.rest
            && *first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte, rest @ ..] = self.rest else { return Err(Malformed("the message ends within a number")) };
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too long"))
    }

    /// A message with its length in front.
    pub(crate) fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed("a length is out of range"))?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("the message ends within a field"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("the message ends within a field"))?;
        self.rest = rest;
        Ok(taken)
    }
}

/// The numbers of a repeated field, packed or one at a time.
pub(crate) fn repeated(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
    match value {
        Value::Varint(one) => each(one),
        Value::Bytes(packed) => {
            let mut numbers = Message::new(packed);
            while numbers.left() > 0 {
                each(numbers.varint()?);
            }
        }
        _ => return Err(Malformed("a repeated field is of another kind")),
    }
    Ok(())
}

/// The doubles of a repeated field, packed or one at a time.
pub(crate) fn repeated_doubles(value: Value<'_>, into: &mut Vec<f64>) -> Result<(), Malformed> {
    match value {
        Value::Fixed64(bits) => into.push(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let (doubles, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(Malformed("the message ends within a double"));
            }
            into.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        }
        _ => return Err(Malformed("a repeated field is of another kind")),
    }
    Ok(())
}

/// Appends a number in as few bytes as it needs.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn put_tag(out: &mut Vec<u8>, number: u32, kind: u32) {
    put_varint(out, u64::from(number << 3 | kind));
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a number; zero is what a missing one means, and is left out.
pub(crate) fn put_unsigned(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_tag(out, number, 0);
        put_varint(out, value);
    }
}

/// Appends a double; zero is left out.
pub(crate) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    if value.to_bits() != 0 {
        put_double_always(out, number, value);
    }
}

/// Appends a double, also where it is zero.
pub(crate) fn put_double_always(out: &mut Vec<u8>, number: u32, value: f64) {
    put_tag(out, number, 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends doubles as one packed field.
pub(crate) fn put_doubles(out: &mut Vec<u8>, number: u32, values: &[f64]) {
    if !values.is_empty() {
        put_tag(out, number, 2);
        put_varint(out, 8 * values.len() as u64);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    }
}

/// Appends a label, as both protocols have it: `{name: 1, value: 2}`.
pub(crate) fn put_label(out: &mut Vec<u8>, number: u32, name: &str, value: &str) {
    let size = |text: &str| 1 + varint_len(text.len()) + text.len();
    put_tag(out, number, 2);
    put_varint(out, (size(name) + size(value)) as u64);
    put_bytes(out, 1, name.as_bytes());
    put_bytes(out, 2, value.as_bytes());
}

fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    (bits.max(1)).div_ceil(7) as usize
}

#[cfg(test)]
mod tests;

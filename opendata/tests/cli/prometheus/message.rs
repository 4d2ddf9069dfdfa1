//! Messages of remote write, put together byte by byte as the specification has them.

/// A field of bytes.
pub(super) fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// A field with a number.
pub(super) fn number(field: u8, value: u64) -> Vec<u8> {
    let mut out = vec![field << 3];
    varint(&mut out, value);
    out
}

/// A field with a double.
pub(super) fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The labels of version 1.0.
pub(super) fn labels(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|(name, value)| bytes(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat()))
        .collect()
}

/// A sample, of either version, in the field that it has there (both: 2).
pub(super) fn sample(at_ms: i64, value: f64) -> Vec<u8> {
    bytes(2, &[double(1, value), number(2, at_ms.cast_unsigned())].concat())
}

/// A series of version 1.0.
pub(super) fn series(pairs: &[(&str, &str)], rest: &[Vec<u8>]) -> Vec<u8> {
    bytes(1, &[labels(pairs), rest.concat()].concat())
}

/// An integer histogram with three observations, two of them in (1, 2].
pub(super) fn histogram(at_ms: i64) -> Vec<u8> {
    let span = [number(1, zigzag(1)), number(2, 1)].concat();
    [
        number(1, 3),
        double(3, 4.5),
        number(4, zigzag(0)),
        double(5, 0.25),
        number(6, 1),
        bytes(11, &span),
        bytes(12, &[4]),
        number(15, at_ms.cast_unsigned()),
    ]
    .concat()
}

pub(super) fn snappy(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

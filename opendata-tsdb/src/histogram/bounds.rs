//! The bounds of buckets.

/// The upper bound of a bucket of positive values: `2^(index * 2^-schema)`.
///
/// The bucket of the largest floats ends at `f64::MAX` and not above it, so that the next one holds infinity alone.
pub(super) fn exponential(index: i32, schema: i8) -> f64 {
    let (whole, part) = if schema < 0 {
        (i64::from(index) << u32::from(schema.unsigned_abs()).min(31), 0.0)
    } else {
        let bits = u32::from(schema.unsigned_abs()).min(31);
        (i64::from(index >> bits), f64::from(index & ((1 << bits) - 1)) / f64::from(1_u32 << bits))
    };
    if whole == 1024 && part == 0.0 {
        return f64::MAX;
    }
    scale(part.exp2(), whole)
}

/// `x * 2^power`, for `x` from 1 to 2; exact where the result can be.
fn scale(x: f64, power: i64) -> f64 {
    match power {
        1024.. => f64::INFINITY,
        // Below the smallest normal number the bits run out step by step, so the last step must be the only one that rounds.
        ..-1022 => x * two_to(-1022) * two_to(power.max(-2044) + 1022),
        _ => x * two_to(power),
    }
}

fn two_to(power: i64) -> f64 {
    match u64::try_from(power + 1023) {
        Ok(biased @ 1..=2046) => f64::from_bits(biased << 52),
        Ok(2047..) => f64::INFINITY,
        // -1074 is the last that is not zero.
        _ => u32::try_from(power + 1074).map_or(0.0, |bit| f64::from_bits(1_u64.checked_shl(bit).unwrap_or(0))),
    }
}

/// The upper bound of a bucket with custom bounds; infinite on both ends.
pub(super) fn custom(index: i32, bounds: &[f64]) -> f64 {
    match usize::try_from(index) {
        Ok(index) => bounds.get(index).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// The index of a bucket in a coarser schema, so many steps below.
pub(super) fn coarser(index: i32, steps: u32) -> i32 {
    (index.saturating_sub(1) >> steps.min(31)).saturating_add(1)
}

pub(super) fn equal(a: &[f64], b: &[f64]) -> bool {
    std::ptr::eq(a, b) || a == b
}

/// The bounds that two lists share.
pub(super) fn shared(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.binary_search_by(|other| other.total_cmp(bound)).is_ok()).collect()
}

/// The place of a bucket of the bounds `from` among the bounds `to`, which are some of them.
pub(super) fn place(index: i32, from: &[f64], to: &[f64]) -> i32 {
    let upper = custom(index, from);
    let at = to.partition_point(|bound| *bound < upper);
    i32::try_from(at).unwrap_or(i32::MAX)
}

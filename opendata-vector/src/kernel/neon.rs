//! The loops for 64-bit ARM, with NEON: four floats, or sixteen bytes, at a time.
//!
//! What makes it sound: [`detect`] hands these out only where the processor has NEON, and every load and store is of an array
//! of exactly its width. The rest of a slice goes through the reference.
#![expect(unsafe_code, reason = "vector loads need it; see the head of this file")]

use std::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, uint8x16_t, vaddq_f32, vaddq_s32, vaddvq_f32, vaddvq_s32, vaddw_u8, vandq_u8,
    vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, vdupq_n_u16, vfmaq_f32, vget_high_s16, vget_high_u8, vget_low_s16,
    vget_low_u8, vld1q_f32, vld1q_s16, vld1q_u8, vmlal_s16, vmovl_u8, vmull_s16, vpaddq_s32, vqtbl1q_u8,
    vreinterpretq_s16_u16, vshrq_n_u8, vst1q_f32, vst1q_s32, vst1q_u16, vsubq_f32,
};

use super::columns::{COLUMN_ROWS, Dots};
use super::lookup::{self, Nibbles, Tables};
use super::{Kernels, PIECE, Plane, codes, plain};
use crate::cell::strip::{LANES, Quad};

static KERNELS: Kernels = Kernels {
    name: "neon",
    dot: |a, b| {
        // SAFETY: only reached through `detect`.
        unsafe { dot(a, b) }
    },
    l2: |a, b| {
        // SAFETY: only reached through `detect`.
        unsafe { l2(a, b) }
    },
    codes8: |codes, size, query, to| {
        // SAFETY: only reached through `detect`.
        unsafe { codes8(codes, size, query, to) }
    },
    codes4: |codes, size, query, to| {
        // SAFETY: only reached through `detect`.
        unsafe { codes4(codes, size, query, to) }
    },
    lookup: |packed, query, to| {
        // SAFETY: only reached through `detect`.
        unsafe { lookup(packed, query, to) }
    },
    strip: |codes, quads, query, to| {
        // SAFETY: only reached through `detect`.
        unsafe { strip(codes, quads, query, to) }
    },
    // Short: the compiler's own vectors do.
    reaching: codes::plain_reaching,
    columns: |all, vector| {
        // SAFETY: only reached through `detect`.
        unsafe { columns(all, vector) }
    },
    columns4: |all, vectors| {
        // SAFETY: only reached through `detect`.
        vectors.map(|vector| unsafe { columns(all, vector) })
    },
};

/// The fast loops, if this processor has what they need.
pub(super) fn detect() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

#[target_feature(enable = "neon")]
fn floats(of: &[f32; 4]) -> float32x4_t {
    // SAFETY: the array has the four floats that are loaded.
    unsafe { vld1q_f32(of.as_ptr()) }
}

#[target_feature(enable = "neon")]
fn bytes(of: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array has the sixteen bytes that are loaded.
    unsafe { vld1q_u8(of.as_ptr()) }
}

#[target_feature(enable = "neon")]
fn wide(of: &[i16; 8]) -> int16x8_t {
    // SAFETY: the array has the eight integers that are loaded.
    unsafe { vld1q_s16(of.as_ptr()) }
}

/// Sums over pairs of fours, in four registers so that additions need not wait for each other.
#[target_feature(enable = "neon")]
fn over(a: &[f32], b: &[f32], add: impl Fn(float32x4_t, float32x4_t, float32x4_t) -> float32x4_t) -> f32 {
    let (blocks_a, blocks_b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (a, b) in blocks_a.chunks(4).zip(blocks_b.chunks(4)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = add(*sum, floats(a), floats(b));
        }
    }
    let [p, q, r, s] = sums;
    vaddvq_f32(vaddq_f32(vaddq_f32(p, q), vaddq_f32(r, s)))
}

/// Both as long as the shorter one, and the part of each behind whole fours.
fn same_length<'a>(a: &'a [f32], b: &'a [f32]) -> [(&'a [f32], &'a [f32]); 2] {
    let count = a.len().min(b.len());
    let whole = count / 4 * 4;
    let of = |slice: &'a [f32]| slice.get(..count).unwrap_or_default().split_at(whole);
    let ((a, rest_a), (b, rest_b)) = (of(a), of(b));
    [(a, b), (rest_a, rest_b)]
}

#[target_feature(enable = "neon")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [whole, rest] = same_length(a, b);
    over(whole.0, whole.1, |sum, a, b| vfmaq_f32(sum, a, b)) + plain::dot(rest.0, rest.1)
}

#[target_feature(enable = "neon")]
fn l2(a: &[f32], b: &[f32]) -> f32 {
    let [whole, rest] = same_length(a, b);
    let squared = |sum: float32x4_t, a: float32x4_t, b: float32x4_t| {
        let difference = vsubq_f32(a, b);
        vfmaq_f32(sum, difference, difference)
    };
    over(whole.0, whole.1, squared) + plain::l2(rest.0, rest.1)
}

/// Eight unsigned bytes, widened, times eight signed integers, added to the sums.
#[target_feature(enable = "neon")]
fn add8(sums: int32x4_t, bytes: int16x8_t, query: int16x8_t) -> int32x4_t {
    let low = vmlal_s16(sums, vget_low_s16(bytes), vget_low_s16(query));
    vmlal_s16(low, vget_high_s16(bytes), vget_high_s16(query))
}

/// Sixteen unsigned bytes times sixteen signed integers, added to the sums.
#[target_feature(enable = "neon")]
fn add16(sums: int32x4_t, bytes: uint8x16_t, query: &[i16; 16]) -> int32x4_t {
    let [low, high] = query.as_chunks::<8>().0 else { return sums };
    let sums = add8(sums, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), wide(low));
    add8(sums, vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes))), wide(high))
}

#[target_feature(enable = "neon")]
fn codes8(codes: &[u8], size: usize, query: &Plane, to: &mut Vec<f32>) {
    for code in codes.chunks_exact(size.max(1)) {
        let mut all = 0;
        for (piece, query) in code.chunks(PIECE).zip(query.wide.chunks(PIECE)) {
            let (blocks, rest) = piece.as_chunks::<16>();
            let mut sums = vdupq_n_s32(0);
            for (block, query) in blocks.iter().zip(query.as_chunks::<16>().0) {
                sums = add16(sums, bytes(block), query);
            }
            let behind = query.get(blocks.len() * 16..).unwrap_or_default();
            all += i64::from(vaddvq_s32(sums)) + plain::bytes(rest, behind);
        }
        to.push(all as f32);
    }
}

#[target_feature(enable = "neon")]
fn codes4(codes: &[u8], size: usize, [first, second]: &[Plane; 2], to: &mut Vec<f32>) {
    let mask = vdupq_n_u8(15);
    for code in codes.chunks_exact(size.max(1)) {
        let mut all = 0;
        let queries = first.wide.chunks(PIECE).zip(second.wide.chunks(PIECE));
        for (piece, (first, second)) in code.chunks(PIECE).zip(queries) {
            // Codes of half bytes are made of whole blocks.
            let blocks = piece.as_chunks::<16>().0;
            let mut sums = vdupq_n_s32(0);
            for ((block, first), second) in blocks.iter().zip(first.as_chunks::<16>().0).zip(second.as_chunks::<16>().0)
            {
                let both = bytes(block);
                sums = add16(sums, vandq_u8(both, mask), first);
                sums = add16(sums, vshrq_n_u8::<4>(both), second);
            }
            all += i64::from(vaddvq_s32(sums));
        }
        to.push(all as f32);
    }
}

#[target_feature(enable = "neon")]
fn lookup(packed: &[Nibbles], query: &Tables, to: &mut Vec<f32>) {
    let mask = vdupq_n_u8(15);
    for block in packed.chunks_exact(query.tables.len().max(1)) {
        let mut totals = [-query.raised(); lookup::ABREAST];
        for (codes, tables) in block.chunks(lookup::PIECE).zip(query.tables.chunks(lookup::PIECE)) {
            let mut sums = [vdupq_n_u16(0); 4];
            let [a, b, c, d] = &mut sums;
            for (codes, table) in codes.iter().zip(tables) {
                let (codes, table) = (bytes(codes), bytes(table));
                let low = vqtbl1q_u8(table, vandq_u8(codes, mask));
                let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(codes));
                *a = vaddw_u8(*a, vget_low_u8(low));
                *b = vaddw_u8(*b, vget_high_u8(low));
                *c = vaddw_u8(*c, vget_low_u8(high));
                *d = vaddw_u8(*d, vget_high_u8(high));
            }
            for (totals, sums) in totals.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
                let mut eight = [0u16; 8];
                // SAFETY: the array has the eight integers that are stored.
                unsafe { vst1q_u16(eight.as_mut_ptr(), sums) };
                totals.iter_mut().zip(eight).for_each(|(total, sum)| *total += i32::from(sum));
            }
        }
        to.extend(totals.iter().map(|total| *total as f32));
    }
}

#[target_feature(enable = "neon")]
fn columns(columns: &[Dots], vector: &[f32]) -> Dots {
    let mut sums = [vdupq_n_f32(0.0); COLUMN_ROWS / 4];
    for (column, component) in columns.iter().zip(vector) {
        let component = vdupq_n_f32(*component);
        for (sum, own) in sums.iter_mut().zip(column.as_chunks::<4>().0) {
            *sum = vfmaq_f32(*sum, floats(own), component);
        }
    }
    let mut dots = [0.0; COLUMN_ROWS];
    for (to, sum) in dots.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        // SAFETY: the array has the four floats that are stored.
        unsafe { vst1q_f32(to.as_mut_ptr(), sum) };
    }
    dots
}

/// Four vectors of four dimensions make one register.
#[target_feature(enable = "neon")]
fn strip(codes: &[Quad], quads: usize, query: &Plane, to: &mut Vec<f32>) {
    let twice: Vec<[i16; 8]> =
        query.wide.as_chunks::<4>().0.iter().map(|[a, b, c, d]| [*a, *b, *c, *d, *a, *b, *c, *d]).collect();
    for block in codes.chunks_exact(quads.max(1)) {
        let mut sums = [vdupq_n_s32(0); LANES / 2];
        for (quad, query) in block.iter().zip(&twice) {
            let query = wide(query);
            for (sums, four) in sums.as_chunks_mut::<2>().0.iter_mut().zip(quad.as_chunks::<16>().0) {
                let four = bytes(four);
                let [first, second] = sums;
                *first = vaddq_s32(*first, pairs(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(four))), query));
                *second = vaddq_s32(*second, pairs(vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(four))), query));
            }
        }
        for [first, second] in sums.as_chunks::<2>().0 {
            let mut lanes = [0i32; 4];
            // SAFETY: the array has the four integers that are stored.
            unsafe { vst1q_s32(lanes.as_mut_ptr(), vpaddq_s32(*first, *second)) };
            to.extend(lanes.map(|lane| lane as f32));
        }
    }
}

/// For each of two vectors two sums of two products.
#[target_feature(enable = "neon")]
fn pairs(bytes: int16x8_t, query: int16x8_t) -> int32x4_t {
    vpaddq_s32(
        vmull_s16(vget_low_s16(bytes), vget_low_s16(query)),
        vmull_s16(vget_high_s16(bytes), vget_high_s16(query)),
    )
}

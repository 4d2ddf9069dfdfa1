//! The loops for x86-64: AVX-512 with VNNI, and AVX2 with FMA. Beside `neon`, the only unsafe code of the workspace.
//!
//! What makes it sound: [`detect`] hands these out only where the processor has the features they are compiled
//! for, and every load lies inside a slice that was split into whole blocks of its width by safe code, or is masked to
//! the bytes that are left of it.
#![expect(unsafe_code, reason = "vector instructions need it; see the head of this file")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::codes::{Factors, Line, Reaching};
use super::columns::Dots;
use super::{Kernels, Plane};
use crate::cell::strip::Quad;

mod avx2;
mod avx512;

static AVX512: Kernels = Kernels {
    name: "avx512",
    dot,
    l2,
    codes8,
    codes4,
    // A processor that has the wide instructions has these as well.
    lookup: avx2::KERNELS.lookup,
    strip,
    reaching,
    columns,
    columns4,
};

/// The fast loops, if this processor has what they need.
pub(super) fn detect() -> Option<&'static Kernels> {
    let has_wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    detect_avx2().map(|narrow| if has_wide { &AVX512 } else { narrow })
}

/// The loops for AVX2, if this processor has it.
pub(super) fn detect_avx2() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&avx2::KERNELS)
}

/// Every processor of this kind has the instruction, which reads nothing that a program could see.
pub(super) fn prefetch<T>(of: &[T]) {
    const LINE: usize = 64;
    let start = of.as_ptr().cast::<i8>();
    for line in (0..size_of_val(of)).step_by(LINE) {
        // SAFETY: the address lies inside the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line)) };
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::dot(a, b) }
}

fn l2(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::l2(a, b) }
}

fn codes8(codes: &[u8], size: usize, query: &Plane, to: &mut Vec<f32>) {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::codes8(codes, size, query, to) }
}

fn codes4(codes: &[u8], size: usize, query: &[Plane; 2], to: &mut Vec<f32>) {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::codes4(codes, size, query, to) }
}

fn columns(columns: &[Dots], vector: &[f32]) -> Dots {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::columns(columns, vector) }
}

fn columns4(columns: &[Dots], vectors: [&[f32]; 4]) -> [Dots; 4] {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::columns4(columns, vectors) }
}

fn strip(codes: &[Quad], quads: usize, query: &Plane, to: &mut Vec<f32>) {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::strip(codes, quads, query, to) }
}

fn reaching(products: &[f32], factors: Factors<'_>, line: Line, to: &mut Vec<Reaching>) {
    // SAFETY: only reached through `detect`.
    unsafe { avx512::reaching(products, factors, line, to) }
}

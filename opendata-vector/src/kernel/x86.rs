//! The loops for x86-64 with AVX2 and FMA. The only unsafe code of the workspace.
//!
//! What makes it sound: [`detect`] hands these out only where the processor has the features they are compiled
//! for, and every load lies inside a slice that was split into whole blocks of its width by safe code.
#![expect(unsafe_code, reason = "vector instructions need it; see the head of this file")]

use std::arch::x86_64::{
    __m128i, __m256, _mm_and_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16, _mm_srli_si128,
    _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm256_sub_ps,
};

use super::{Kernels, plain};

static AVX2: Kernels = Kernels { name: "avx2", dot, l2, dot_u8, dot_u4 };

/// The fast loops, if this processor has what they need.
pub(super) fn detect() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&AVX2)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: only reached through `detect`.
    unsafe { dot_avx2(a, b) }
}

fn l2(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: only reached through `detect`.
    unsafe { l2_avx2(a, b) }
}

fn dot_u8(code: &[u8], query: &[f32]) -> f32 {
    // SAFETY: only reached through `detect`.
    unsafe { dot_u8_avx2(code, query) }
}

fn dot_u4(code: &[u8], query: &[f32]) -> f32 {
    // SAFETY: only reached through `detect`.
    unsafe { dot_u4_avx2(code, query) }
}

#[target_feature(enable = "avx2,fma")]
fn sum(a: __m256, b: __m256, c: __m256, d: __m256) -> f32 {
    let all = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    let mut lanes = [0f32; 8];
    // SAFETY: eight floats are what is stored.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), all) };
    lanes.iter().sum()
}

#[target_feature(enable = "avx2,fma")]
fn load(of: &[f32; 8]) -> __m256 {
    // SAFETY: the array has the eight floats that are loaded.
    unsafe { _mm256_loadu_ps(of.as_ptr()) }
}

#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    let count = a.len().min(b.len());
    let (a, b) = (a.get(..count).unwrap_or_default(), b.get(..count).unwrap_or_default());
    let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [_mm256_setzero_ps(); 4];
    let (fours_a, ones_a) = blocks_a.as_chunks::<4>();
    let (fours_b, ones_b) = blocks_b.as_chunks::<4>();
    for (a, b) in fours_a.iter().zip(fours_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = _mm256_fmadd_ps(load(a), load(b), *sum);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(ones_a).zip(ones_b) {
        *sum = _mm256_fmadd_ps(load(a), load(b), *sum);
    }
    let [p, q, r, s] = sums;
    sum(p, q, r, s) + plain::dot(rest_a, rest_b)
}

#[target_feature(enable = "avx2,fma")]
fn l2_avx2(a: &[f32], b: &[f32]) -> f32 {
    let count = a.len().min(b.len());
    let (a, b) = (a.get(..count).unwrap_or_default(), b.get(..count).unwrap_or_default());
    let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [_mm256_setzero_ps(); 4];
    let (fours_a, ones_a) = blocks_a.as_chunks::<4>();
    let (fours_b, ones_b) = blocks_b.as_chunks::<4>();
    for (a, b) in fours_a.iter().zip(fours_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = _mm256_sub_ps(load(a), load(b));
            *sum = _mm256_fmadd_ps(difference, difference, *sum);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(ones_a).zip(ones_b) {
        let difference = _mm256_sub_ps(load(a), load(b));
        *sum = _mm256_fmadd_ps(difference, difference, *sum);
    }
    let [p, q, r, s] = sums;
    sum(p, q, r, s) + plain::l2(rest_a, rest_b)
}

#[target_feature(enable = "avx2,fma")]
fn dot_u8_avx2(code: &[u8], query: &[f32]) -> f32 {
    let count = code.len().min(query.len());
    let (code, query) = (code.get(..count).unwrap_or_default(), query.get(..count).unwrap_or_default());
    let ((bytes, rest_code), (blocks, rest_query)) = (code.as_chunks::<8>(), query.as_chunks::<8>());
    let mut sums = [_mm256_setzero_ps(); 4];
    let (four_bytes, one_bytes) = bytes.as_chunks::<4>();
    let (four_blocks, one_blocks) = blocks.as_chunks::<4>();
    for (bytes, blocks) in four_bytes.iter().zip(four_blocks) {
        for ((sum, bytes), block) in sums.iter_mut().zip(bytes).zip(blocks) {
            *sum = _mm256_fmadd_ps(widen(load_eight(bytes)), load(block), *sum);
        }
    }
    for ((sum, bytes), block) in sums.iter_mut().zip(one_bytes).zip(one_blocks) {
        *sum = _mm256_fmadd_ps(widen(load_eight(bytes)), load(block), *sum);
    }
    let [p, q, r, s] = sums;
    sum(p, q, r, s) + plain::dot_u8(rest_code, rest_query)
}

#[target_feature(enable = "avx2,fma")]
fn dot_u4_avx2(code: &[u8], query: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let low = _mm_set1_epi8(15);
    for (bytes, query) in code.as_chunks::<16>().0.iter().zip(query.as_chunks::<8>().0.as_chunks::<4>().0) {
        // SAFETY: the array has the sixteen bytes that are loaded.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let first = _mm_and_si128(bytes, low);
        let second = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low);
        let halves = [first, _mm_srli_si128::<8>(first), second, _mm_srli_si128::<8>(second)];
        for ((sum, half), query) in sums.iter_mut().zip(halves).zip(query) {
            *sum = _mm256_fmadd_ps(widen(half), load(query), *sum);
        }
    }
    let [p, q, r, s] = sums;
    sum(p, q, r, s)
}

#[target_feature(enable = "avx2,fma")]
fn load_eight(bytes: &[u8; 8]) -> __m128i {
    // SAFETY: the array has the eight bytes that are loaded.
    unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
}

/// The low eight bytes as floats.
#[target_feature(enable = "avx2,fma")]
fn widen(bytes: __m128i) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
}

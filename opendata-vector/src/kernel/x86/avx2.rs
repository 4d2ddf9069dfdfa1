//! AVX2 with FMA: eight floats, or sixteen bytes, at a time. What is left of a slice goes through the reference.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cvtepu8_epi16, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi64x, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps,
};

use super::super::columns::Dots;
use super::super::{Kernels, PIECE, Plane, codes, plain};
use crate::cell::strip::Quad;

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx2",
    dot: |a, b| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { dot(a, b) }
    },
    l2: |a, b| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { l2(a, b) }
    },
    codes8: |codes, size, query, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { codes8(codes, size, query, to) }
    },
    codes4: |codes, size, query, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { codes4(codes, size, query, to) }
    },
    signs: |words, size, query, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { signs(words, size, query, to) }
    },
    strip: |codes, quads, query, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { strip(codes, quads, query, to) }
    },
    // Short: the compiler's own vectors do.
    reaching: codes::plain_reaching,
    columns: |all, vector| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { columns(all, vector) }
    },
    columns4: |all, vectors| {
        // SAFETY: only reached through `detect_avx2`.
        vectors.map(|vector| unsafe { columns(all, vector) })
    },
};

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
fn dot(a: &[f32], b: &[f32]) -> f32 {
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
fn l2(a: &[f32], b: &[f32]) -> f32 {
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

/// Sixteen unsigned bytes times sixteen signed integers, added to the sums.
#[target_feature(enable = "avx2,fma")]
fn add(sums: __m256i, bytes: __m128i, query: &[i16; 16]) -> __m256i {
    // SAFETY: the array has the sixteen integers that are loaded.
    let query = unsafe { _mm256_loadu_si256(query.as_ptr().cast()) };
    _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), query))
}

#[target_feature(enable = "avx2,fma")]
fn load_bytes(of: &[u8; 16]) -> __m128i {
    // SAFETY: the array has the sixteen bytes that are loaded.
    unsafe { _mm_loadu_si128(of.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
fn total(sums: __m256i) -> i64 {
    let mut lanes = [0i32; 8];
    // SAFETY: eight integers are what is stored.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    lanes.iter().map(|lane| i64::from(*lane)).sum()
}

#[target_feature(enable = "avx2,fma")]
fn codes8(codes: &[u8], size: usize, query: &Plane, to: &mut Vec<f32>) {
    for code in codes.chunks_exact(size.max(1)) {
        let mut all = 0;
        for (piece, query) in code.chunks(PIECE).zip(query.wide.chunks(PIECE)) {
            let (blocks, rest) = piece.as_chunks::<16>();
            let (wide, rest_query) = query.as_chunks::<16>();
            let mut sums = _mm256_setzero_si256();
            for (bytes, query) in blocks.iter().zip(wide) {
                sums = add(sums, load_bytes(bytes), query);
            }
            let behind = wide.get(blocks.len()..).unwrap_or_default().as_flattened();
            let rest_query = if behind.is_empty() { rest_query } else { behind };
            all += total(sums) + plain::bytes(rest, rest_query);
        }
        to.push(all as f32);
    }
}

#[target_feature(enable = "avx2,fma")]
fn codes4(codes: &[u8], size: usize, [first, second]: &[Plane; 2], to: &mut Vec<f32>) {
    let mask = _mm_set1_epi8(15);
    for code in codes.chunks_exact(size.max(1)) {
        let mut all = 0;
        let queries = first.wide.chunks(PIECE).zip(second.wide.chunks(PIECE));
        for (piece, (first, second)) in code.chunks(PIECE).zip(queries) {
            // Codes of half bytes are made of whole blocks.
            let blocks = piece.as_chunks::<16>().0;
            let mut sums = _mm256_setzero_si256();
            for ((bytes, first), second) in blocks.iter().zip(first.as_chunks::<16>().0).zip(second.as_chunks::<16>().0)
            {
                let bytes = load_bytes(bytes);
                sums = add(sums, _mm_and_si128(bytes, mask), first);
                sums = add(sums, _mm_and_si128(_mm_srli_epi16::<4>(bytes), mask), second);
            }
            all += total(sums);
        }
        to.push(all as f32);
    }
}

#[target_feature(enable = "avx2,fma")]
fn load_signed(of: &[i8; 32]) -> __m256i {
    // SAFETY: the array has the thirty-two bytes that are loaded.
    unsafe { _mm256_loadu_si256(of.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
fn signs(words: &[u64], size: usize, query: &Plane, to: &mut Vec<f32>) {
    let ones = _mm256_set1_epi8(1);
    // Each byte of the word eight times, then one bit of each.
    let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bits = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    for vector in words.chunks_exact(size.max(1)) {
        let mut sums = _mm256_setzero_si256();
        for (word, query) in vector.iter().zip(query.high.as_chunks::<32>().0.as_chunks::<2>().0) {
            for (half, query) in [*word as u32, (*word >> 32) as u32].into_iter().zip(query) {
                let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(half as i32), spread);
                let mask = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
                let pairs = _mm256_maddubs_epi16(ones, _mm256_and_si256(mask, load_signed(query)));
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        to.push((128 * total(sums)) as f32);
    }
}

#[target_feature(enable = "avx2,fma")]
fn columns(columns: &[Dots], vector: &[f32]) -> Dots {
    let mut sums = [_mm256_setzero_ps(); 8];
    for (column, component) in columns.iter().zip(vector) {
        let component = _mm256_set1_ps(*component);
        for (sum, own) in sums.iter_mut().zip(column.as_chunks::<8>().0) {
            *sum = _mm256_fmadd_ps(load(own), component, *sum);
        }
    }
    let mut dots = [0.0; 64];
    for (to, sum) in dots.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: the array has the eight floats that are stored.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), sum) };
    }
    dots
}

/// Four codes of sixteen side by side make one register, two lanes each.
#[target_feature(enable = "avx2,fma")]
fn strip(codes: &[Quad], quads: usize, query: &Plane, to: &mut Vec<f32>) {
    let repeat = |[a, b, c, d]: &[i16; 4]| [*a, *b, *c, *d, *a, *b, *c, *d, *a, *b, *c, *d, *a, *b, *c, *d];
    let repeated: Vec<[i16; 16]> = query.wide.as_chunks::<4>().0.iter().map(repeat).collect();
    for block in codes.chunks_exact(quads.max(1)) {
        let mut sums = [_mm256_setzero_si256(); 4];
        for (quad, query) in block.iter().zip(&repeated) {
            for (sums, bytes) in sums.iter_mut().zip(quad.as_chunks::<16>().0) {
                *sums = add(*sums, load_bytes(bytes), query);
            }
        }
        for sums in sums {
            let mut lanes = [0i32; 8];
            // SAFETY: eight integers are what is stored.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
            to.extend(lanes.as_chunks::<2>().0.iter().map(|[a, b]| (a + b) as f32));
        }
    }
}

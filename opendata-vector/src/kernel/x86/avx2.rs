//! AVX2 with FMA: eight floats, or sixteen bytes, at a time. What is left of a slice goes through the reference.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_GE_OQ, _mm_add_epi16, _mm_add_epi32, _mm_and_si128, _mm_cvtsi128_si32,
    _mm_loadu_si128, _mm_set1_epi8, _mm_shuffle_epi32, _mm_srli_epi16, _mm_unpackhi_epi16, _mm_unpackhi_epi64,
    _mm_unpacklo_epi16, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_si128,
    _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtepu16_epi32, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi16, _mm256_sub_ps,
};

use super::super::codes::{Factors, Line, Reaching, plain_reaching_from};
use super::super::columns::{COLUMN_ROWS, Dots};
use super::super::lookup::{self, Nibbles, Tables};
use super::super::{Kernels, PIECE, Plane, plain};
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
    lookup: |packed, query, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { lookup(packed, query, to) }
    },
    strip: |codes, quads, query, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { strip(codes, quads, query, to) }
    },
    reaching: |products, factors, line, to| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { reaching(products, factors, line, to) }
    },
    columns: |all, vector| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { columns(all, vector) }
    },
    columns4: |all, vectors| {
        // SAFETY: only reached through `detect_avx2`.
        unsafe { columns4(all, vectors) }
    },
};

#[target_feature(enable = "avx2,fma")]
fn sum(a: __m256, b: __m256, c: __m256, d: __m256) -> f32 {
    let all = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    store(all).iter().sum()
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

/// The sum of the lanes, which fits: see [`PIECE`].
#[target_feature(enable = "avx2,fma")]
fn total(sums: __m256i) -> i64 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    i64::from(_mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two))))
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

/// What is summed up of one half of a block, sixteen vectors: whole pairs of bytes, wrapping, and their upper bytes.
#[derive(Clone, Copy)]
struct Halves {
    pairs: __m256i,
    upper: __m256i,
}

impl Halves {
    #[target_feature(enable = "avx2,fma")]
    fn add(&mut self, entries: __m256i) {
        self.pairs = _mm256_add_epi16(self.pairs, entries);
        self.upper = _mm256_add_epi16(self.upper, _mm256_srli_epi16::<8>(entries));
    }

    /// The sums of the vectors in their order, eight and eight.
    #[target_feature(enable = "avx2,fma")]
    fn finish(self) -> [__m256i; 2] {
        let lower = _mm256_sub_epi16(self.pairs, _mm256_slli_epi16::<8>(self.upper));
        let fold = |of: __m256i| _mm_add_epi16(_mm256_castsi256_si128(of), _mm256_extracti128_si256::<1>(of));
        let (even, odd) = (fold(lower), fold(self.upper));
        [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)].map(|eight| _mm256_cvtepu16_epi32(eight))
    }
}

#[target_feature(enable = "avx2,fma")]
fn load_two(of: &[[u8; 16]; 2]) -> __m256i {
    // SAFETY: the arrays have the thirty-two bytes that are loaded.
    unsafe { _mm256_loadu_si256(of.as_ptr().cast()) }
}

/// Two tables at a time, one in each half of a register: both halves belong to the same vectors.
#[target_feature(enable = "avx2,fma")]
fn lookup(packed: &[Nibbles], query: &Tables, to: &mut Vec<f32>) {
    let (mask, zero) = (_mm256_set1_epi8(15), _mm256_setzero_si256());
    let tables = query.tables.as_chunks::<2>().0;
    for block in packed.chunks_exact(query.tables.len().max(1)) {
        let mut totals = [_mm256_set1_epi32(-query.raised()); 4];
        for (codes, tables) in block.as_chunks::<2>().0.chunks(lookup::PIECE / 2).zip(tables.chunks(lookup::PIECE / 2))
        {
            let mut halves = [Halves { pairs: zero, upper: zero }; 2];
            let [first, second] = &mut halves;
            for (codes, table) in codes.iter().zip(tables) {
                let (codes, table) = (load_two(codes), load_two(table));
                let low = _mm256_and_si256(codes, mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask);
                first.add(_mm256_shuffle_epi8(table, low));
                second.add(_mm256_shuffle_epi8(table, high));
            }
            let sums = halves.map(|half| half.finish());
            for (total, sum) in totals.iter_mut().zip(sums.as_flattened()) {
                *total = _mm256_add_epi32(*total, *sum);
            }
        }
        for total in totals {
            to.extend_from_slice(&store(_mm256_cvtepi32_ps(total)));
        }
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
        *to = store(sum);
    }
    dots
}

/// Sixteen rows at a time: their sums for four vectors, and what is loaded, fit the registers.
#[target_feature(enable = "avx2,fma")]
fn columns4(all: &[Dots], vectors: [&[f32]; 4]) -> [Dots; 4] {
    let [a, b, c, d] = vectors;
    if [b, c, d].iter().any(|other| other.len() != a.len()) {
        return vectors.map(|vector| columns(all, vector));
    }
    let parts = [
        sixteen::<0>(all, vectors),
        sixteen::<1>(all, vectors),
        sixteen::<2>(all, vectors),
        sixteen::<3>(all, vectors),
    ];
    let mut dots = [[0.0; COLUMN_ROWS]; 4];
    for (part, sums) in parts.into_iter().enumerate() {
        for (dots, sums) in dots.iter_mut().zip(sums) {
            if let Some(to) = dots.as_chunks_mut::<16>().0.get_mut(part) {
                let (low, high) = to.split_at_mut(8);
                let [first, second] = sums;
                low.copy_from_slice(&store(first));
                high.copy_from_slice(&store(second));
            }
        }
    }
    dots
}

/// The inner products of four vectors, of as many components, with sixteen rows of a block.
#[target_feature(enable = "avx2,fma")]
fn sixteen<const PART: usize>(columns: &[Dots], [a, b, c, d]: [&[f32]; 4]) -> [[__m256; 2]; 4] {
    let mut sums = [[_mm256_setzero_ps(); 2]; 4];
    for ((((column, a), b), c), d) in columns.iter().zip(a).zip(b).zip(c).zip(d) {
        let Some([low, high]) = column.as_chunks::<8>().0.as_chunks::<2>().0.get(PART) else { break };
        let (low, high) = (load(low), load(high));
        for ([first, second], component) in sums.iter_mut().zip([a, b, c, d]) {
            let component = _mm256_set1_ps(*component);
            *first = _mm256_fmadd_ps(low, component, *first);
            *second = _mm256_fmadd_ps(high, component, *second);
        }
    }
    sums
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

/// Multiplied and added one after another, as the reference does: fused they would be rounded differently.
#[target_feature(enable = "avx2,fma")]
fn reaching(products: &[f32], factors: Factors<'_>, line: Line, to: &mut Vec<Reaching>) {
    let rows = products.len().min(factors.base.len()).min(factors.slope.len()).min(factors.spread.len());
    let all = products.as_chunks::<8>().0.iter().zip(factors.base.as_chunks::<8>().0);
    let all = all.zip(factors.slope.as_chunks::<8>().0).zip(factors.spread.as_chunks::<8>().0);
    let set = |number: f32| _mm256_set1_ps(number);
    for (at, (((product, base), slope), spread)) in all.enumerate() {
        let scaled = _mm256_sub_ps(_mm256_mul_ps(load(product), set(line.scale)), set(line.middle));
        let own = _mm256_add_ps(load(base), _mm256_mul_ps(load(slope), scaled));
        let estimate = _mm256_add_ps(set(line.constant), own);
        let upper = _mm256_add_ps(estimate, _mm256_mul_ps(set(line.doubt), load(spread)));
        let mut reaching = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(upper, set(line.floor)));
        if reaching == 0 {
            continue;
        }
        let (estimates, uppers) = (store(estimate), store(upper));
        while reaching != 0 {
            let lane = reaching.trailing_zeros() as usize;
            reaching &= reaching - 1;
            if let (Some(estimate), Some(upper)) = (estimates.get(lane), uppers.get(lane)) {
                to.push(Reaching { row: (at * 8 + lane) as u32, estimate: *estimate, upper: *upper });
            }
        }
    }
    plain_reaching_from(rows / 8 * 8, products, factors, line, to);
}

#[target_feature(enable = "avx2,fma")]
fn store(lanes: __m256) -> [f32; 8] {
    let mut of = [0.0; 8];
    // SAFETY: the array has the eight floats that are stored.
    unsafe { _mm256_storeu_ps(of.as_mut_ptr(), lanes) };
    of
}

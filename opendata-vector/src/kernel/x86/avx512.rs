//! AVX-512: sixteen floats, or sixty-four bytes, at a time. The tail of a slice is read under a mask.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _CMP_GE_OQ, _mm_add_epi32, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_ps, _mm512_mul_ps,
    _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_slli_epi32, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::super::codes::{Factors, Line, Reaching, plain_reaching_from};
use super::super::columns::Dots;
use super::super::{PIECE, Plane};
use crate::cell::strip::Quad;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load(of: &[f32; 16]) -> __m512 {
    // SAFETY: the array has the sixteen floats that are loaded.
    unsafe { _mm512_loadu_ps(of.as_ptr()) }
}

/// Fewer than sixteen floats, and zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load_rest(of: &[f32]) -> __m512 {
    let mask = (1u32 << of.len().min(16)).wrapping_sub(1) as u16;
    // SAFETY: only the floats of the slice are read: the mask has as many bits.
    unsafe { _mm512_maskz_loadu_ps(mask, of.as_ptr()) }
}

fn pair<'a>(a: &'a [f32], b: &'a [f32]) -> (&'a [f32], &'a [f32]) {
    let count = a.len().min(b.len());
    (a.get(..count).unwrap_or_default(), b.get(..count).unwrap_or_default())
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = pair(a, b);
    let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [_mm512_setzero_ps(); 4];
    let ((fours_a, ones_a), (fours_b, ones_b)) = (blocks_a.as_chunks::<4>(), blocks_b.as_chunks::<4>());
    for (a, b) in fours_a.iter().zip(fours_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = _mm512_fmadd_ps(load(a), load(b), *sum);
        }
    }
    let [mut p, q, r, s] = sums;
    for (a, b) in ones_a.iter().zip(ones_b) {
        p = _mm512_fmadd_ps(load(a), load(b), p);
    }
    let q = _mm512_fmadd_ps(load_rest(rest_a), load_rest(rest_b), q);
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(p, q), _mm512_add_ps(r, s)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn l2(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = pair(a, b);
    let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [_mm512_setzero_ps(); 4];
    let ((fours_a, ones_a), (fours_b, ones_b)) = (blocks_a.as_chunks::<4>(), blocks_b.as_chunks::<4>());
    for (a, b) in fours_a.iter().zip(fours_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = _mm512_sub_ps(load(a), load(b));
            *sum = _mm512_fmadd_ps(difference, difference, *sum);
        }
    }
    let [mut p, q, r, s] = sums;
    for (a, b) in ones_a.iter().zip(ones_b) {
        let difference = _mm512_sub_ps(load(a), load(b));
        p = _mm512_fmadd_ps(difference, difference, p);
    }
    let difference = _mm512_sub_ps(load_rest(rest_a), load_rest(rest_b));
    let q = _mm512_fmadd_ps(difference, difference, q);
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(p, q), _mm512_add_ps(r, s)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load_bytes(of: &[u8; 64]) -> __m512i {
    // SAFETY: the array has the sixty-four bytes that are loaded.
    unsafe { _mm512_loadu_si512(of.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load_signed(of: &[i8; 64]) -> __m512i {
    // SAFETY: the array has the sixty-four bytes that are loaded.
    unsafe { _mm512_loadu_si512(of.as_ptr().cast()) }
}

/// At most sixty-four bytes, and zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn load_some(of: &[u8]) -> __m512i {
    if let Some(whole) = of.first_chunk::<64>() {
        return load_bytes(whole);
    }
    let mask = (1u64 << of.len().min(63)) - 1;
    // SAFETY: only the bytes of the slice are read: the mask has as many bits.
    unsafe { _mm512_maskz_loadu_epi8(mask, of.as_ptr().cast()) }
}

/// The sums of the lanes of four.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sums([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    let four: __m128i = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let mut sums = [0i32; 4];
    // SAFETY: four integers are what is stored.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), four) };
    sums
}

/// The inner product of one piece of a code, by lanes.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn piece8(code: &[u8], high: &[[i8; 64]], low: &[[i8; 64]]) -> __m512i {
    let (mut highs, mut lows) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for ((bytes, high), low) in code.chunks(64).zip(high).zip(low) {
        let bytes = load_some(bytes);
        highs = _mm512_dpbusd_epi32(highs, bytes, load_signed(high));
        lows = _mm512_dpbusd_epi32(lows, bytes, load_signed(low));
    }
    _mm512_add_epi32(_mm512_slli_epi32::<7>(highs), lows)
}

/// The same for codes of half a byte a dimension.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn piece4(code: &[u8], query: [&[[i8; 64]]; 4]) -> __m512i {
    let [first_high, first_low, second_high, second_low] = query;
    let (mut highs, mut lows) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let mask = _mm512_set1_epi8(15);
    let planes = first_high.iter().zip(first_low).zip(second_high).zip(second_low);
    for (bytes, (((first_high, first_low), second_high), second_low)) in code.chunks(64).zip(planes) {
        let bytes = load_some(bytes);
        let first = _mm512_and_si512(bytes, mask);
        let second = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask);
        highs = _mm512_dpbusd_epi32(highs, first, load_signed(first_high));
        lows = _mm512_dpbusd_epi32(lows, first, load_signed(first_low));
        highs = _mm512_dpbusd_epi32(highs, second, load_signed(second_high));
        lows = _mm512_dpbusd_epi32(lows, second, load_signed(second_low));
    }
    _mm512_add_epi32(_mm512_slli_epi32::<7>(highs), lows)
}

/// Calls `piece` for each piece of each code, and sums up.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn codes(codes: &[u8], size: usize, to: &mut Vec<f32>, piece: impl Fn(&[u8], usize) -> __m512i) {
    let size = size.max(1);
    for four in codes.chunks(size * 4) {
        let mut totals = [0i64; 4];
        for start in (0..size).step_by(PIECE) {
            let mut lanes = [_mm512_setzero_si512(); 4];
            for (lanes, code) in lanes.iter_mut().zip(four.chunks_exact(size)) {
                let end = (start + PIECE).min(size);
                *lanes = piece(code.get(start..end).unwrap_or_default(), start / 64);
            }
            for (total, sum) in totals.iter_mut().zip(sums(lanes)) {
                *total += i64::from(sum);
            }
        }
        to.extend(totals.iter().take(four.len() / size).map(|total| *total as f32));
    }
}

fn from(plane: &[i8], block: usize) -> &[[i8; 64]] {
    plane.as_chunks::<64>().0.get(block..).unwrap_or_default()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn codes8(all: &[u8], size: usize, query: &Plane, to: &mut Vec<f32>) {
    codes(all, size, to, |code, block| piece8(code, from(&query.high, block), from(&query.low, block)));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn codes4(all: &[u8], size: usize, [first, second]: &[Plane; 2], to: &mut Vec<f32>) {
    codes(all, size, to, |code, block| {
        let planes = [&first.high, &first.low, &second.high, &second.low];
        piece4(code, planes.map(|plane| from(plane, block)))
    });
}

/// Sixteen codes side by side, four dimensions at a time: every lane sums one vector.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn strip(codes: &[Quad], quads: usize, query: &Plane, to: &mut Vec<f32>) {
    let (high, low) = (query.high.as_chunks::<4>().0, query.low.as_chunks::<4>().0);
    let four = |of: &[i8; 4]| _mm512_set1_epi32(i32::from_le_bytes(of.map(|q| q as u8)));
    for block in codes.chunks_exact(quads.max(1)) {
        let (mut highs, mut lows) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for ((bytes, high), low) in block.iter().zip(high).zip(low) {
            let bytes = load_bytes(bytes);
            highs = _mm512_dpbusd_epi32(highs, bytes, four(high));
            lows = _mm512_dpbusd_epi32(lows, bytes, four(low));
        }
        let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<7>(highs), lows));
        to.extend_from_slice(&store_one(sums));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn reaching(products: &[f32], factors: Factors<'_>, line: Line, to: &mut Vec<Reaching>) {
    let rows = products.len().min(factors.base.len()).min(factors.slope.len()).min(factors.spread.len());
    let all = products.as_chunks::<16>().0.iter().zip(factors.base.as_chunks::<16>().0);
    let all = all.zip(factors.slope.as_chunks::<16>().0).zip(factors.spread.as_chunks::<16>().0);
    let set = |number: f32| _mm512_set1_ps(number);
    for (at, (((product, base), slope), spread)) in all.enumerate() {
        let scaled = _mm512_sub_ps(_mm512_mul_ps(load(product), set(line.scale)), set(line.middle));
        let own = _mm512_add_ps(load(base), _mm512_mul_ps(load(slope), scaled));
        let estimate = _mm512_add_ps(set(line.constant), own);
        let upper = _mm512_add_ps(estimate, _mm512_mul_ps(set(line.doubt), load(spread)));
        let mut reaching = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(upper, set(line.floor));
        if reaching == 0 {
            continue;
        }
        let (estimates, uppers) = (store_one(estimate), store_one(upper));
        while reaching != 0 {
            let lane = reaching.trailing_zeros() as usize;
            reaching &= reaching - 1;
            if let (Some(estimate), Some(upper)) = (estimates.get(lane), uppers.get(lane)) {
                to.push(Reaching { row: (at * 16 + lane) as u32, estimate: *estimate, upper: *upper });
            }
        }
    }
    plain_reaching_from(rows / 16 * 16, products, factors, line, to);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn store_one(lanes: __m512) -> [f32; 16] {
    let mut of = [0.0; 16];
    // SAFETY: the array has the sixteen floats that are stored.
    unsafe { _mm512_storeu_ps(of.as_mut_ptr(), lanes) };
    of
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn store(lanes: [__m512; 4]) -> Dots {
    let mut dots = [0.0; 64];
    for (to, lanes) in dots.as_chunks_mut::<16>().0.iter_mut().zip(lanes) {
        *to = store_one(lanes);
    }
    dots
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn columns(columns: &[Dots], vector: &[f32]) -> Dots {
    let mut sums = [_mm512_setzero_ps(); 4];
    for (column, component) in columns.iter().zip(vector) {
        let component = _mm512_set1_ps(*component);
        for (sum, own) in sums.iter_mut().zip(column.as_chunks::<16>().0) {
            *sum = _mm512_fmadd_ps(load(own), component, *sum);
        }
    }
    store(sums)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn columns4(columns: &[Dots], vectors: [&[f32]; 4]) -> [Dots; 4] {
    let [a, b, c, d] = vectors;
    let mut sums = [[_mm512_setzero_ps(); 4]; 4];
    if [b, c, d].iter().any(|other| other.len() != a.len()) {
        return vectors.map(|vector| self::columns(columns, vector));
    }
    for ((((column, a), b), c), d) in columns.iter().zip(a).zip(b).zip(c).zip(d) {
        let [p, q, r, s] = [a, b, c, d].map(|component| _mm512_set1_ps(*component));
        let [one, two, three, four] = &mut sums;
        let parts = column.as_chunks::<16>().0.iter().zip(one).zip(two).zip(three).zip(four);
        for ((((own, one), two), three), four) in parts {
            let own = load(own);
            *one = _mm512_fmadd_ps(own, p, *one);
            *two = _mm512_fmadd_ps(own, q, *two);
            *three = _mm512_fmadd_ps(own, r, *three);
            *four = _mm512_fmadd_ps(own, s, *four);
        }
    }
    sums.map(|lanes| store(lanes))
}

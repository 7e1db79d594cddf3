//! AVX-512 F, BW, DQ, VL and VNNI, and BF16 where it is.

#![expect(unsafe_code, reason = "CPU instructions")]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{Bf16Table, Kernel, Simd, instructions, loads};

/// Made only by [`run`] and [`run_bf16`]: the CPU has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

/// Runs a kernel compiled for AVX-512.
///
/// # Safety
/// The CPU has AVX2, FMA, F16C and AVX-512 F, BW, DQ, VL, VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<false>(()))
}

/// Runs a kernel compiled for AVX-512 with BF16.
///
/// # Safety
/// The CPU has what [`run`] needs, and AVX-512 BF16.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
pub(super) unsafe fn run_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true>(()))
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;

    const LANES: usize = 16;
    const FLOAT_ROWS: usize = 12;
    const INT_ROWS: usize = 6;
    /// VNNI multiplies unsigned by signed bytes.
    const BYTE_BIAS: u8 = 128;

    loads! {
        fn load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        fn load_bf16(from: *const u16) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())),
        ));
        fn load_f16(from: *const u16) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
        fn load_i8(from: *const i8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())));
        fn load_u8(from: *const u8) -> __m512i =
            _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
        fn load_int(from: *const u32) -> __m512i = _mm512_loadu_si512(from.cast());
        fn load_bytes(from: *const u8) -> __m512i = _mm512_loadu_si512(from.cast());
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        // SAFETY: the CPU has the instructions, and the pointer is good for sixteen writes.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn store_int(self, to: *mut u32, x: __m512i) {
        // SAFETY: the CPU has the instructions, and the pointer is good for sixteen writes.
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }

    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8, x: __m512i) {
        // SAFETY: the CPU has the instructions, and the pointer is good for sixteen writes.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(x)) }
    }

    #[inline(always)]
    unsafe fn turn(
        self,
        from: *const f32,
        stride: usize,
        n_rows: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        /// Quarters 0 and 2, and 1 and 3, of two vectors.
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        // Written out: the registers hold all of it, which no loop makes the compiler see.
        macro_rules! row {
            ($i:literal) => {
                match $i < n_rows {
                    true => _mm512_loadu_ps(from.add($i * stride)),
                    false => _mm512_setzero_ps(),
                }
            };
        }
        // Column `4 * q + j` of four rows lies in quarter `q` of result `j`.
        macro_rules! four_rows {
            ($a:literal, $b:literal, $c:literal, $d:literal) => {{
                let (a, b, c, d) = (row!($a), row!($b), row!($c), row!($d));
                let low = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                let next_low = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
                let high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
                let next_high = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
                (
                    _mm512_castpd_ps(_mm512_unpacklo_pd(low, next_low)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(low, next_low)),
                    _mm512_castpd_ps(_mm512_unpacklo_pd(high, next_high)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(high, next_high)),
                )
            }};
        }
        macro_rules! columns {
            ($j:tt, $a:ident, $b:ident, $c:ident, $d:ident) => {{
                let evens = _mm512_shuffle_f32x4::<EVEN>($a.$j, $b.$j);
                let next_evens = _mm512_shuffle_f32x4::<EVEN>($c.$j, $d.$j);
                let odds = _mm512_shuffle_f32x4::<ODD>($a.$j, $b.$j);
                let next_odds = _mm512_shuffle_f32x4::<ODD>($c.$j, $d.$j);
                (
                    _mm512_shuffle_f32x4::<EVEN>(evens, next_evens),
                    _mm512_shuffle_f32x4::<EVEN>(odds, next_odds),
                    _mm512_shuffle_f32x4::<ODD>(evens, next_evens),
                    _mm512_shuffle_f32x4::<ODD>(odds, next_odds),
                )
            }};
        }
        // SAFETY: the CPU has the instructions; the pointers are good for these rows and vectors.
        unsafe {
            let a = four_rows!(0, 1, 2, 3);
            let b = four_rows!(4, 5, 6, 7);
            let c = four_rows!(8, 9, 10, 11);
            let d = four_rows!(12, 13, 14, 15);
            let zero = columns!(0, a, b, c, d);
            let one = columns!(1, a, b, c, d);
            let two = columns!(2, a, b, c, d);
            let three = columns!(3, a, b, c, d);
            _mm512_storeu_ps(to, zero.0);
            _mm512_storeu_ps(to.add(to_stride), one.0);
            _mm512_storeu_ps(to.add(2 * to_stride), two.0);
            _mm512_storeu_ps(to.add(3 * to_stride), three.0);
            _mm512_storeu_ps(to.add(4 * to_stride), zero.1);
            _mm512_storeu_ps(to.add(5 * to_stride), one.1);
            _mm512_storeu_ps(to.add(6 * to_stride), two.1);
            _mm512_storeu_ps(to.add(7 * to_stride), three.1);
            _mm512_storeu_ps(to.add(8 * to_stride), zero.2);
            _mm512_storeu_ps(to.add(9 * to_stride), one.2);
            _mm512_storeu_ps(to.add(10 * to_stride), two.2);
            _mm512_storeu_ps(to.add(11 * to_stride), three.2);
            _mm512_storeu_ps(to.add(12 * to_stride), zero.3);
            _mm512_storeu_ps(to.add(13 * to_stride), one.3);
            _mm512_storeu_ps(to.add(14 * to_stride), two.3);
            _mm512_storeu_ps(to.add(15 * to_stride), three.3);
        }
    }

    #[inline(always)]
    fn lookup_bf16(self, table: &Bf16Table, x: __m512i) -> __m512i {
        // SAFETY: the CPU has the instructions; the table has 64 bytes. Bit 4 of an index chooses
        // between two halves of the table that are the same.
        unsafe { _mm512_permutexvar_epi16(x, _mm512_loadu_si512(table.halves.as_ptr().cast())) }
    }

    instructions! {
        fn shift_right(x: __m512i, n: u32) -> __m512i =
            _mm512_srl_epi32(x, _mm_cvtsi32_si128(n.cast_signed()));
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn reduce_add(v: __m512) -> f32 = {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        fn reduce_max(v: __m512) -> f32 = {
            let eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        };
        fn round(x: __m512) -> __m512i = _mm512_cvtps_epi32(x);
        fn to_float(x: __m512i) -> __m512 = _mm512_cvtepi32_ps(x);
        fn exp2_int(x: __m512i) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<23>(
            _mm512_add_epi32(x, _mm512_set1_epi32(127)),
        ));
        fn int_splat(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn count_above(count: __m512i, x: __m512, threshold: f32) -> __m512i = {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_set1_ps(threshold));
            _mm512_mask_add_epi32(count, above, count, _mm512_set1_epi32(1))
        };
        fn dot2_bf16(sum: __m512, weights: __m512i, x: __m512i) -> __m512 = if BF16 {
            // The same bits under another type.
            let pairs = |v| transmute::<__m512i, __m512bh>(v);
            _mm512_dpbf16_ps(sum, pairs(weights), pairs(x))
        } else {
            let low = |v| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(v));
            let high = |v| {
                _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
            };
            let sum = _mm512_fmadd_ps(low(x), low(weights), sum);
            _mm512_fmadd_ps(high(x), high(weights), sum)
        };
        fn lookup_low(table: &[f32; 16], x: __m512i) -> __m512 =
            _mm512_permutexvar_ps(x, _mm512_loadu_ps(table.as_ptr()));
        fn lookup_high(table: &[f32; 16], x: __m512i) -> __m512 =
            _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(x), _mm512_loadu_ps(table.as_ptr()));
        fn low_nibbles(x: __m512i) -> __m512i = _mm512_and_si512(x, _mm512_set1_epi8(15));
        fn high_nibbles(x: __m512i) -> __m512i =
            _mm512_and_si512(_mm512_srli_epi16::<4>(x), _mm512_set1_epi8(15));
        fn or_shifted(codes: __m512i, x: __m512i, left: i32, mask: u8) -> __m512i = {
            let n = _mm_cvtsi32_si128(left.abs());
            let shifted = match left >= 0 {
                true => _mm512_sll_epi32(x, n),
                false => _mm512_srl_epi32(x, n),
            };
            let mask = _mm512_set1_epi8(mask.cast_signed());
            _mm512_or_si512(codes, _mm512_and_si512(shifted, mask))
        };
        fn dot4(sum: __m512i, weights: __m512i, x: i32) -> __m512i =
            _mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(x));
        fn dot4_unsigned(sum: __m512i, weights: __m512i, x: i32) -> __m512i =
            _mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(x));
    }
}

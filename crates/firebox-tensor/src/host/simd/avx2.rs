//! AVX2 with FMA and F16C.

#![expect(unsafe_code, reason = "CPU instructions")]

use std::arch::x86_64::*;

use super::{Bf16Table, Kernel, Simd, instructions, loads};

/// Made only by [`run`]: the CPU has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs a kernel compiled for AVX2.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

impl Simd for Avx2 {
    type F = __m256;
    type I = __m256i;
    type B = __m256i;

    const LANES: usize = 8;
    const FLOAT_ROWS: usize = 6;
    const INT_ROWS: usize = 2;
    const BYTE_BIAS: u8 = 0;

    loads! {
        fn load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        fn load_bf16(from: *const u16) -> __m256 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(
            _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())),
        ));
        fn load_f16(from: *const u16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
        fn load_i8(from: *const i8) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())));
        fn load_u8(from: *const u8) -> __m256i =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
        fn load_int(from: *const u32) -> __m256i = _mm256_loadu_si256(from.cast());
        fn load_bytes(from: *const u8) -> __m256i = _mm256_loadu_si256(from.cast());
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: the CPU has the instructions, and the pointer is good for eight writes.
        unsafe { _mm256_storeu_ps(to, v) }
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
        // Written out: the registers hold all of it, which no loop makes the compiler see.
        macro_rules! row {
            ($i:literal) => {
                match $i < n_rows {
                    true => _mm256_loadu_ps(from.add($i * stride)),
                    false => _mm256_setzero_ps(),
                }
            };
        }
        // Column `4 * h + j` of four rows lies in half `h` of result `j`.
        macro_rules! four_rows {
            ($a:literal, $b:literal, $c:literal, $d:literal) => {{
                let (a, b, c, d) = (row!($a), row!($b), row!($c), row!($d));
                let low = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
                let next_low = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
                let high = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
                let next_high = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
                (
                    _mm256_castpd_ps(_mm256_unpacklo_pd(low, next_low)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(low, next_low)),
                    _mm256_castpd_ps(_mm256_unpacklo_pd(high, next_high)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(high, next_high)),
                )
            }};
        }
        // SAFETY: the CPU has the instructions; the pointers are good for these rows and vectors.
        unsafe {
            let a = four_rows!(0, 1, 2, 3);
            let b = four_rows!(4, 5, 6, 7);
            let column = _mm256_permute2f128_ps::<0x20>(a.0, b.0);
            _mm256_storeu_ps(to, column);
            let column = _mm256_permute2f128_ps::<0x20>(a.1, b.1);
            _mm256_storeu_ps(to.add(to_stride), column);
            let column = _mm256_permute2f128_ps::<0x20>(a.2, b.2);
            _mm256_storeu_ps(to.add(2 * to_stride), column);
            let column = _mm256_permute2f128_ps::<0x20>(a.3, b.3);
            _mm256_storeu_ps(to.add(3 * to_stride), column);
            let column = _mm256_permute2f128_ps::<0x31>(a.0, b.0);
            _mm256_storeu_ps(to.add(4 * to_stride), column);
            let column = _mm256_permute2f128_ps::<0x31>(a.1, b.1);
            _mm256_storeu_ps(to.add(5 * to_stride), column);
            let column = _mm256_permute2f128_ps::<0x31>(a.2, b.2);
            _mm256_storeu_ps(to.add(6 * to_stride), column);
            let column = _mm256_permute2f128_ps::<0x31>(a.3, b.3);
            _mm256_storeu_ps(to.add(7 * to_stride), column);
        }
    }

    #[inline(always)]
    fn lookup_high(self, table: &[f32; 16], x: __m256i) -> __m256 {
        // SAFETY: the CPU has the instructions.
        self.lookup_low(table, unsafe { _mm256_srli_epi32::<4>(x) })
    }

    #[inline(always)]
    unsafe fn store_int(self, to: *mut u32, x: __m256i) {
        // SAFETY: the CPU has the instructions, and the pointer is good for eight writes.
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }

    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8, x: __m256i) {
        // SAFETY: the CPU has the instructions, and the pointer is good for eight writes. The numbers
        // are of bytes: none is cut.
        unsafe {
            let halves = _mm256_packs_epi32(x, x);
            let bytes = _mm256_packs_epi16(halves, halves);
            let low = _mm_cvtsi128_si32(_mm256_castsi256_si128(bytes));
            let high = _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(bytes));
            to.cast::<i32>().write_unaligned(low);
            to.cast::<i32>().add(1).write_unaligned(high);
        }
    }

    #[inline(always)]
    fn lookup_bf16(self, table: &Bf16Table, x: __m256i) -> __m256i {
        let low = self.lookup_low(&table.floats, x);
        let high = self.lookup_low(&table.floats, self.shift_right(x, 16));
        // SAFETY: the CPU has the instructions.
        unsafe {
            let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(low));
            // A value that is a bf16 has zeros in its low half.
            _mm256_or_si256(_mm256_castps_si256(high), low)
        }
    }

    instructions! {
        fn shift_right(x: __m256i, n: u32) -> __m256i =
            _mm256_srl_epi32(x, _mm_cvtsi32_si128(n.cast_signed()));
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn reduce_add(v: __m256) -> f32 = {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        fn reduce_max(v: __m256) -> f32 = {
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        };
        fn round(x: __m256) -> __m256i = _mm256_cvtps_epi32(x);
        fn to_float(x: __m256i) -> __m256 = _mm256_cvtepi32_ps(x);
        fn exp2_int(x: __m256i) -> __m256 = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(
            _mm256_add_epi32(x, _mm256_set1_epi32(127)),
        ));
        fn int_splat(x: i32) -> __m256i = _mm256_set1_epi32(x);
        fn count_above(count: __m256i, x: __m256, threshold: f32) -> __m256i = {
            // True is -1.
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_set1_ps(threshold));
            _mm256_sub_epi32(count, _mm256_castps_si256(above))
        };
        fn dot2_bf16(sum: __m256, weights: __m256i, x: __m256i) -> __m256 = {
            let low = |v| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(v));
            let high = |v| {
                _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
            };
            let sum = _mm256_fmadd_ps(low(x), low(weights), sum);
            _mm256_fmadd_ps(high(x), high(weights), sum)
        };
        fn lookup_low(table: &[f32; 16], x: __m256i) -> __m256 = {
            let first = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), x);
            let second = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr().add(8)), x);
            // Bit 3 of the index, in the sign bit of the lane, chooses the second half.
            let half = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(x));
            _mm256_blendv_ps(first, second, half)
        };
        fn low_nibbles(x: __m256i) -> __m256i = _mm256_and_si256(x, _mm256_set1_epi8(15));
        fn high_nibbles(x: __m256i) -> __m256i =
            _mm256_and_si256(_mm256_srli_epi16::<4>(x), _mm256_set1_epi8(15));
        fn or_shifted(codes: __m256i, x: __m256i, left: i32, mask: u8) -> __m256i = {
            let n = _mm_cvtsi32_si128(left.abs());
            let shifted = match left >= 0 {
                true => _mm256_sll_epi32(x, n),
                false => _mm256_srl_epi32(x, n),
            };
            let mask = _mm256_set1_epi8(mask.cast_signed());
            _mm256_or_si256(codes, _mm256_and_si256(shifted, mask))
        };
        fn dot4(sum: __m256i, weights: __m256i, x: i32) -> __m256i = {
            // Unsigned times signed: the weights' signs move over to `x`. Pairs stay within i16:
            // 128 * 127 * 2 < 2^15.
            let x = _mm256_sign_epi8(_mm256_set1_epi32(x), weights);
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), x);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        };
        fn dot4_unsigned(sum: __m256i, weights: __m256i, x: i32) -> __m256i = {
            // Pairs stay within i16: 127 * 127 * 2 < 2^15.
            let pairs = _mm256_maddubs_epi16(weights, _mm256_set1_epi32(x));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        };
    }
}

//! The vocabulary on arrays of eight, left to the compiler's vectorizer.

#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#![allow(
    clippy::needless_range_loop,
    clippy::allow_attributes,
    reason = "lanes are numbered"
)]

use std::array;

use half::{bf16, f16};

use super::{Bf16Table, Simd};

/// `1.5 * 2^23`: adding it leaves the nearest integer in the low bits.
const INTEGER_BITS: f32 = 12_582_912.0;

#[derive(Clone, Copy)]
pub(crate) struct Portable(());

impl Portable {
    /// Every CPU has it.
    pub(super) fn new() -> Self {
        Self(())
    }
}

fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type F = [f32; 8];
    type I = [i32; 8];
    type B = [u8; 32];

    const LANES: usize = 8;
    const FLOAT_ROWS: usize = 2;
    const INT_ROWS: usize = 2;
    const BYTE_BIAS: u8 = 0;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; 8]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F {
        // SAFETY: good for 8 reads, says the caller.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
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
        for column in 0..Self::LANES {
            for row in 0..n_rows.min(Self::LANES) {
                // SAFETY: the pointers are good for these rows and vectors.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * stride + column) };
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::F) {
        // SAFETY: good for 8 writes, says the caller.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> Self::F {
        // SAFETY: good for 8 reads, says the caller.
        let bits = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        bits.map(|x| bf16::from_bits(x).to_f32())
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> Self::F {
        // SAFETY: good for 8 reads, says the caller.
        let bits = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        bits.map(|x| f16::from_bits(x).to_f32())
    }

    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> Self::F {
        // SAFETY: good for 8 reads, says the caller.
        let bytes = unsafe { from.cast::<[i8; 8]>().read_unaligned() };
        bytes.map(f32::from)
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // Two roundings: a fused one is a function call where the target lacks the instruction.
        array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn reduce_add(self, v: Self::F) -> f32 {
        let half: [f32; 4] = array::from_fn(|i| v[i] + v[i + 4]);
        (half[0] + half[2]) + (half[1] + half[3])
    }

    #[inline(always)]
    fn reduce_max(self, v: Self::F) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn round(self, x: Self::F) -> Self::I {
        x.map(|x| (x + INTEGER_BITS).to_bits() as i32 - INTEGER_BITS.to_bits() as i32)
    }

    #[inline(always)]
    fn to_float(self, x: Self::I) -> Self::F {
        x.map(|x| x as f32)
    }

    #[inline(always)]
    fn exp2_int(self, x: Self::I) -> Self::F {
        x.map(|x| f32::from_bits(((x + 127) << 23) as u32))
    }

    #[inline(always)]
    fn count_above(self, count: Self::I, x: Self::F, threshold: f32) -> Self::I {
        array::from_fn(|i| count[i] + i32::from(x[i] > threshold))
    }

    #[inline(always)]
    fn int_splat(self, x: i32) -> Self::I {
        [x; 8]
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const u32) -> Self::I {
        // SAFETY: good for 8 reads, says the caller.
        unsafe { from.cast::<[i32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_int(self, to: *mut u32, x: Self::I) {
        // SAFETY: good for 8 writes, says the caller.
        unsafe { to.cast::<[i32; 8]>().write_unaligned(x) }
    }

    #[inline(always)]
    fn shift_right(self, x: Self::I, n: u32) -> Self::I {
        x.map(|x| (x.cast_unsigned() >> n).cast_signed())
    }

    #[inline(always)]
    fn lookup_bf16(self, table: &Bf16Table, x: Self::I) -> Self::I {
        let half = |x: u32| u32::from(table.halves[x as usize & 15]);
        x.map(|x| {
            let x = x.cast_unsigned();
            (half(x) | half(x >> 16) << 16).cast_signed()
        })
    }

    #[inline(always)]
    fn dot2_bf16(self, sum: Self::F, weights: Self::I, x: Self::I) -> Self::F {
        let low = |v: i32| f32::from_bits(v.cast_unsigned() << 16);
        let high = |v: i32| f32::from_bits(v.cast_unsigned() & 0xffff_0000);
        array::from_fn(|i| {
            let sum = low(x[i]) * low(weights[i]) + sum[i];
            high(x[i]) * high(weights[i]) + sum
        })
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::I {
        // SAFETY: good for 8 reads, says the caller.
        let bytes = unsafe { from.cast::<[u8; 8]>().read_unaligned() };
        bytes.map(i32::from)
    }

    #[inline(always)]
    fn lookup_low(self, table: &[f32; 16], x: Self::I) -> Self::F {
        x.map(|x| table[x as usize & 15])
    }

    #[inline(always)]
    fn lookup_high(self, table: &[f32; 16], x: Self::I) -> Self::F {
        x.map(|x| table[x as usize >> 4 & 15])
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Self::B {
        // SAFETY: good for 32 reads, says the caller.
        unsafe { from.cast::<[u8; 32]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8, x: Self::I) {
        // SAFETY: good for 8 writes, says the caller.
        unsafe { to.cast::<[i8; 8]>().write_unaligned(x.map(|x| x as i8)) }
    }

    #[inline(always)]
    fn low_nibbles(self, x: Self::B) -> Self::B {
        x.map(|x| x & 15)
    }

    #[inline(always)]
    fn high_nibbles(self, x: Self::B) -> Self::B {
        x.map(|x| x >> 4)
    }

    #[inline(always)]
    fn or_shifted(self, codes: Self::B, x: Self::B, left: i32, mask: u8) -> Self::B {
        let n = left.unsigned_abs();
        array::from_fn(|i| {
            let shifted = if left >= 0 { x[i] << n } else { x[i] >> n };
            codes[i] | shifted & mask
        })
    }

    #[inline(always)]
    fn dot4(self, sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        let x = x.to_le_bytes();
        array::from_fn(|lane| {
            let mut sum = sum[lane];
            for i in 0..4 {
                sum += i32::from(weights[4 * lane + i] as i8) * i32::from(x[i] as i8);
            }
            sum
        })
    }

    #[inline(always)]
    fn dot4_unsigned(self, sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        self.dot4(sum, weights, x)
    }
}

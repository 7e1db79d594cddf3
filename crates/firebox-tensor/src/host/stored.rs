//! Numbers as a weight keeps them, which become f32 when they are read.

#![expect(
    unsafe_code,
    reason = "numbers are read through pointers, a vector at a time"
)]

use std::mem::MaybeUninit;

use bytemuck::Pod;
use half::{bf16, f16};

use super::bf16_dot::bf16_bits;
use super::simd::Simd;
use super::turn::MAX_LANES;

/// A number as a weight keeps it.
pub(crate) trait Stored: Pod + Send + Sync {
    /// As it is multiplied.
    fn widened(self) -> f32;

    /// The nearest bf16.
    #[inline(always)]
    fn bf16_bits(self) -> u32 {
        bf16_bits(self.widened())
    }

    /// # Safety
    /// `from` is good for a vector.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F;

    /// As [`Simd::turn`], of rows of these numbers.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn turn<S: Simd>(
        s: S,
        from: *const Self,
        stride: usize,
        n_rows: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        let mut block = MaybeUninit::<[f32; MAX_LANES * MAX_LANES]>::uninit();
        let rows: *mut f32 = block.as_mut_ptr().cast();
        // SAFETY: the block has room for the rows, which are at most a vector's lanes and are written
        // before they are read; the rest says the caller.
        unsafe {
            for row in 0..n_rows {
                s.store(
                    rows.add(row * S::LANES),
                    Self::load(s, from.add(row * stride)),
                );
            }
            s.turn(rows, S::LANES, n_rows, to, to_stride);
        }
    }
}

impl Stored for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load(from) }
    }

    #[inline(always)]
    unsafe fn turn<S: Simd>(
        s: S,
        from: *const f32,
        stride: usize,
        n_rows: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: says the caller.
        unsafe { s.turn(from, stride, n_rows, to, to_stride) };
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn bf16_bits(self) -> u32 {
        u32::from(self.to_bits())
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const bf16) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load_bf16(from.cast()) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f16) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load_f16(from.cast()) }
    }
}

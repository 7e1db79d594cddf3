//! Numbers as a weight keeps them, which become f32 when they are read.

#![expect(
    unsafe_code,
    reason = "numbers are read through pointers, a vector at a time"
)]

use bytemuck::Pod;
use half::{bf16, f16};

use super::simd::Simd;
use super::turn::MAX_LANES;

/// A number as a weight keeps it.
pub(crate) trait Stored: Pod + Send + Sync {
    /// As it is multiplied.
    fn widened(self) -> f32;

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
        let mut block = [0.0; MAX_LANES * MAX_LANES];
        for (row, block) in block.chunks_exact_mut(S::LANES).enumerate().take(n_rows) {
            // SAFETY: a vector of a row, says the caller, and of the block.
            unsafe { s.store(block.as_mut_ptr(), Self::load(s, from.add(row * stride))) };
        }
        // SAFETY: the block has the rows; the rest says the caller.
        unsafe { s.turn(block.as_ptr(), S::LANES, n_rows, to, to_stride) };
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

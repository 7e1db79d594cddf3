//! Rows of activations in 8 bits, for products of integers.

#![expect(unsafe_code, reason = "threads write disjoint blocks of one output")]

use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each_range};
use super::simd::{Kernel, Simd, dispatch};

/// Inputs that share a scale: one block of the weights.
pub(crate) const BLOCK: usize = crate::packed::GGML_BLOCK_SIZE;

/// Inputs of half a block, which some weights have a scale for.
const HALF: usize = BLOCK / 2;

/// Rows that one task quantizes.
const ROWS_PER_TASK: usize = 4;

/// `x ≈ q * scale` in blocks of 32 along a row, `scale = max |x| / 127`; never -128.
#[derive(Debug, Default)]
pub(crate) struct QuantizedRows {
    /// `[rows, in]`.
    pub(crate) codes: Vec<i8>,
    /// `[rows, in / 32]`.
    pub(crate) scales: Vec<f32>,
    /// The codes' sums over half blocks, `[rows, in / 16]`.
    pub(crate) half_sums: Vec<i32>,
}

impl QuantizedRows {
    /// Replaces what is held by the rows of `x`, `[rows, n_in]`.
    pub(crate) fn fill(&mut self, level: SimdLevel, x: &[f32], n_in: usize) {
        let (n_rows, n_blocks) = (x.len() / n_in, n_in / BLOCK);
        self.codes.resize(n_rows * n_in, 0);
        self.scales.resize(n_rows * n_blocks, 0.0);
        self.half_sums.resize(2 * n_rows * n_blocks, 0);
        let codes = SharedMut::new(&mut self.codes);
        let scales = SharedMut::new(&mut self.scales);
        let half_sums = SharedMut::new(&mut self.half_sums);
        for_each_range(n_rows * n_blocks, ROWS_PER_TASK * n_blocks, |blocks| {
            let kernel = QuantizeBlocks {
                x,
                blocks,
                codes,
                scales,
                half_sums,
            };
            dispatch(level, kernel);
        });
    }
}

struct QuantizeBlocks<'a> {
    x: &'a [f32],
    blocks: std::ops::Range<usize>,
    codes: SharedMut<i8>,
    scales: SharedMut<f32>,
    half_sums: SharedMut<i32>,
}

impl Kernel for QuantizeBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for block in self.blocks {
            let x: &[f32; BLOCK] = self.x[block * BLOCK..][..BLOCK]
                .try_into()
                .expect("a block");
            // SAFETY: the outputs have a place for every block, and this block is this task's alone.
            unsafe {
                let codes = self.codes.ptr().add(block * BLOCK);
                let sums = self.half_sums.ptr().add(2 * block);
                self.scales
                    .ptr()
                    .add(block)
                    .write(quantize(s, x, codes, sums));
            }
        }
    }
}

/// Writes the codes of a block and the sums of its halves, and gives its scale.
///
/// # Safety
/// `codes` is good for a block, `half_sums` for two numbers.
#[inline(always)]
unsafe fn quantize<S: Simd>(s: S, x: &[f32; BLOCK], codes: *mut i8, half_sums: *mut i32) -> f32 {
    let mut largest = s.splat(0.0);
    for at in (0..BLOCK).step_by(S::LANES) {
        // SAFETY: a block is whole vectors of every level.
        let x = unsafe { s.load(x.as_ptr().add(at)) };
        // What is no number is passed over.
        largest = s.max(x, largest);
        largest = s.max(s.sub(s.splat(0.0), x), largest);
    }
    let absmax = s.reduce_max(largest);
    let inverse = s.splat(if absmax > 0.0 { 127.0 / absmax } else { 0.0 });
    for half in 0..2 {
        let mut sum = s.splat(0.0);
        for at in (half * HALF..(half + 1) * HALF).step_by(S::LANES) {
            // SAFETY: half a block is whole vectors of every level; the codes have as many places.
            unsafe {
                let scaled = s.mul(s.load(x.as_ptr().add(at)), inverse);
                // A product that is no number, or infinite, must not become -128.
                let scaled = s.max(s.min(scaled, s.splat(127.0)), s.splat(-127.0));
                let code = s.round(scaled);
                s.store_i8(codes.add(at), code);
                sum = s.add(sum, s.to_float(code)); // Exact.
            }
        }
        // SAFETY: one of two.
        unsafe { half_sums.add(half).write(s.reduce_add(sum) as i32) };
    }
    absmax / 127.0
}

//! Rows of activations in 8 bits, for products of integers.

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
    #[expect(unsafe_code, reason = "threads write disjoint blocks of one output")]
    fn run<S: Simd>(self, _: S) {
        for block in self.blocks {
            let x: &[f32; BLOCK] = self.x[block * BLOCK..][..BLOCK]
                .try_into()
                .expect("a block");
            let (codes, scale, half_sums) = quantize(x);
            // SAFETY: the outputs have a place for every block, and this block is this task's alone.
            unsafe {
                self.codes
                    .ptr()
                    .add(block * BLOCK)
                    .cast::<[i8; BLOCK]>()
                    .write(codes);
                self.scales.ptr().add(block).write(scale);
                self.half_sums
                    .ptr()
                    .add(2 * block)
                    .cast::<[i32; 2]>()
                    .write(half_sums);
            }
        }
    }
}

/// Codes, scale, and the sums of the codes' halves.
#[inline(always)]
fn quantize(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32, [i32; 2]) {
    /// `1.5 * 2^23`: adding it rounds to an integer, ties to even.
    const INTEGER_BITS: f32 = 12_582_912.0;
    let absmax = x
        .iter()
        .fold(0.0_f32, |max, x| if x.abs() > max { x.abs() } else { max });
    let inverse = if absmax > 0.0 { 127.0 / absmax } else { 0.0 };
    let mut codes = [0; BLOCK];
    let mut sums = [0; 2];
    let halves = codes.chunks_exact_mut(HALF).zip(x.chunks_exact(HALF));
    for (sum, (codes, x)) in sums.iter_mut().zip(halves) {
        for (code, x) in codes.iter_mut().zip(x) {
            let rounded =
                (x * inverse + INTEGER_BITS).to_bits() as i32 - INTEGER_BITS.to_bits() as i32;
            // A product that is no number, or infinite, must not become -128.
            let rounded = rounded.clamp(-127, 127);
            *code = rounded as i8;
            *sum += rounded;
        }
    }
    (codes, absmax / 127.0, sums)
}

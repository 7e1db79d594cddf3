//! ggml's Q6_K: blocks of 256 in sixteen groups of 16,
//! `w = d * s * (q - 32)` with an f16 `d`, signed bytes `s`, and 6-bit `q`.
//!
//! Block layout, 210 bytes: 128 of lower four bits, 64 of upper two bits, 16 scales, `d` (f16).
//! Halves of 128 elements have their own bytes; in each, quarters of 32 share them.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::{
    K_BLOCK_SIZE,
    block_rounding::{absmax, integer},
    grid::{finite_f16, fit_scale, of_both_signs},
    q8_0::inverse_scale,
};

/// Bytes of one block of 256 elements.
pub const Q6_K_BLOCK_BYTES: usize = 210;

/// Elements that share a scale.
const GROUP: usize = 16;
/// Groups of a block.
const GROUPS: usize = K_BLOCK_SIZE / GROUP;

/// Largest magnitude whose scale fits in `127 * f16`.
pub(super) const LIMIT: f32 = 32.0 * 127.0 * 65_504.0;

/// Scales to try for codes from -32 to 31, of either sign, as parts of the largest magnitude.
const CANDIDATES: [f32; 38] = of_both_signs(31.1, 0.1);

/// The scales of a block: group `g` has `w = d * scales[g] * q`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scales {
    d: f16,
    scales: [i8; GROUPS],
}

impl Scales {
    /// Those of least error for each group, each value counting as much as `importance` says; then
    /// rounded to 8 bits below one f16.
    pub(super) fn fit(values: &[f32], importance: &[f32]) -> Self {
        let (values, _) = values.as_chunks::<GROUP>();
        let (importance, _) = importance.as_chunks::<GROUP>();
        let level = |x: f32| integer(x, -32.0, 31.0);
        let best: [f32; GROUPS] =
            std::array::from_fn(|g| fit_scale(&values[g], &importance[g], &CANDIDATES, level));
        let d = finite_f16(absmax(&best) / 127.0);
        let inverse = inverse_scale(d.to_f32());
        let scales = best.map(|scale| integer(scale * inverse, -127.0, 127.0) as i8);
        Self { d, scales }
    }

    fn scale(&self, i: usize) -> f32 {
        self.d.to_f32() * f32::from(self.scales[i / GROUP])
    }

    /// The code of `x` as element `i`, and the value that it stands for.
    pub(super) fn nearest(&self, i: usize, x: f32) -> (u8, f32) {
        let scale = self.scale(i);
        let code = integer(x * inverse_scale(scale), -32.0, 31.0);
        ((code + 32.0) as u8, scale * code)
    }

    /// A whole block.
    pub(super) fn write(&self, codes: &[u8]) -> [u8; Q6_K_BLOCK_BYTES] {
        let mut block = [0; Q6_K_BLOCK_BYTES];
        for (i, code) in codes.iter().enumerate() {
            let (half, quarter, lane) = (i / 128, i / 32 % 4, i % 32);
            block[half * 64 + quarter % 2 * 32 + lane] |= (code & 15) << (quarter / 2 * 4);
            block[128 + half * 32 + lane] |= (code >> 4) << (quarter * 2);
        }
        for (byte, scale) in block[192..208].iter_mut().zip(self.scales) {
            *byte = scale.cast_unsigned();
        }
        block[208..].copy_from_slice(&self.d.to_le_bytes());
        block
    }
}

/// A block of a file, taken apart.
pub(crate) struct Q6KBlock<'a> {
    low: &'a [u8],
    high: &'a [u8],
    /// Signed bytes, one for each 16 elements.
    pub(crate) scales: &'a [u8],
    pub(crate) d: f16,
}

impl<'a> Q6KBlock<'a> {
    pub(crate) fn new(block: &'a [u8; Q6_K_BLOCK_BYTES]) -> Self {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, d) = rest.split_at(GROUPS);
        Self {
            low,
            high,
            scales,
            d: f16::from_le_bytes([d[0], d[1]]),
        }
    }

    /// The code of element `i`: 32 more than what its scale is multiplied with.
    pub(crate) fn code(&self, i: usize) -> u8 {
        let (half, quarter, lane) = (i / 128, i / 32 % 4, i % 32);
        let four = self.low[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 15;
        let two = self.high[half * 32 + lane] >> (quarter * 2) & 3;
        four | two << 4
    }
}

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 256 elements for each block of 210 bytes.
pub fn dequantize_q6_k(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q6_K_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * K_BLOCK_SIZE,
        "q6_k: blocks of 210 bytes for 256 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(K_BLOCK_SIZE)) {
        let block = Q6KBlock::new(block);
        let d = block.d.to_f32();
        for (i, x) in out.iter_mut().enumerate() {
            let scale = d * f32::from(block.scales[i / GROUP].cast_signed());
            *x = scale * f32::from(block.code(i).cast_signed() - 32);
        }
    }
}

/// Packs whole blocks of finite values of at most `32 * 127 * 65504`. Scales are searched for: those
/// of least squared error, where a value counts as its square.
///
/// # Panics
/// If `blocks` does not have 210 bytes for each 256 values.
pub fn quantize_q6_k(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<K_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q6_K_BLOCK_BYTES,
        "q6_k: blocks of 210 bytes for 256 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q6_K_BLOCK_BYTES)) {
        let largest = absmax(values).max(f32::MIN_POSITIVE);
        let importance = values.map(|x| (x / largest) * (x / largest));
        let scales = Scales::fit(values, &importance);
        let mut codes = [0; K_BLOCK_SIZE];
        for (i, (code, x)) in codes.iter_mut().zip(values).enumerate() {
            *code = scales.nearest(i, *x).0;
        }
        block.copy_from_slice(&scales.write(&codes));
    }
}

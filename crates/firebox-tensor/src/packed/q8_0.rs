//! ggml's Q8_0: blocks of 32, `w ≈ d * q` with an f16 `d` and signed bytes `q`.
//!
//! Block layout, 34 bytes: `d` (f16), `q[32]` (i8).
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::{
    GGML_BLOCK_SIZE,
    block_rounding::{absmax, round_half_away},
};

/// Bytes of one block of 32 elements.
pub const Q8_0_BLOCK_BYTES: usize = 34;

/// Largest magnitude whose scale fits in f16.
pub(super) const LIMIT: f32 = 127.0 * 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 32 elements for each block of 34 bytes.
pub fn dequantize_q8_0(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q8_0_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * GGML_BLOCK_SIZE,
        "q8_0: blocks of 34 bytes for 32 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(GGML_BLOCK_SIZE)) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        for (x, q) in out.iter_mut().zip(&block[2..]) {
            *x = f32::from(*q as i8) * d;
        }
    }
}

/// Packs whole blocks of finite values of at most `127 * 65504`: `d = absmax / 127`,
/// `q = round(w / d)` half away from zero.
///
/// # Panics
/// If `blocks` does not have 34 bytes for each 32 values.
pub fn quantize_q8_0(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<GGML_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q8_0_BLOCK_BYTES,
        "q8_0: blocks of 34 bytes for 32 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q8_0_BLOCK_BYTES)) {
        let d = absmax(values) / 127.0;
        let inverse = inverse_scale(d);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        for (q, x) in block[2..].iter_mut().zip(values) {
            *q = round_half_away(x * inverse);
        }
    }
}

/// `1 / d`, or 0 where the scale is 0 or so small that f16 makes it 0 and `1 / d` overflows.
pub(super) fn inverse_scale(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

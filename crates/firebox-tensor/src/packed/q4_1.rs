//! ggml's Q4_1: blocks of 32, `w ≈ d * q + m` with f16 `d` and `m` and 4-bit `q`.
//!
//! Block layout, 20 bytes: `d` (f16), `m` (f16), then 16 bytes of nibbles: byte `j` holds element
//! `j` low and element `j + 16` high.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::{GGML_BLOCK_SIZE, block_rounding::floor, q8_0::inverse_scale};

/// Bytes of one block of 32 elements.
pub const Q4_1_BLOCK_BYTES: usize = 20;

/// Largest magnitude that fits in f16, as the minimum must.
pub(super) const LIMIT: f32 = 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 32 elements for each block of 20 bytes.
pub fn dequantize_q4_1(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q4_1_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * GGML_BLOCK_SIZE,
        "q4_1: blocks of 20 bytes for 32 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(GGML_BLOCK_SIZE)) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let m = f16::from_le_bytes([block[2], block[3]]).to_f32();
        let (low, high) = out.split_at_mut(GGML_BLOCK_SIZE / 2);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(&block[4..]) {
            *low = d * f32::from(byte & 15) + m;
            *high = d * f32::from(byte >> 4) + m;
        }
    }
}

/// Packs whole blocks of finite values of at most 65504: `m = min`, `d = (max - min) / 15`,
/// `q = min(15, floor((w - m) / d + 0.5))`.
///
/// # Panics
/// If `blocks` does not have 20 bytes for each 32 values.
pub fn quantize_q4_1(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<GGML_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q4_1_BLOCK_BYTES,
        "q4_1: blocks of 20 bytes for 32 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q4_1_BLOCK_BYTES)) {
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let d = (max - min) / 15.0;
        let inverse = inverse_scale(d);
        let code = |x: f32| floor((x - min) * inverse + 0.5).min(15);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        block[2..4].copy_from_slice(&f16::from_f32(min).to_le_bytes());
        let (low, high) = values.split_at(GGML_BLOCK_SIZE / 2);
        for ((byte, low), high) in block[4..].iter_mut().zip(low).zip(high) {
            *byte = code(*low) | code(*high) << 4;
        }
    }
}

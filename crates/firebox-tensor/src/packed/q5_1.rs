//! ggml's Q5_1: as Q4_1 with 5-bit `q`, blocks of 32, `w ≈ d * q + m`.
//!
//! Block layout, 24 bytes: `d` (f16), `m` (f16), then codes as in Q5_0.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::{
    GGML_BLOCK_SIZE,
    block_rounding::floor,
    q5_0::{read_codes, write_codes},
    q8_0::inverse_scale,
};

/// Bytes of one block of 32 elements.
pub const Q5_1_BLOCK_BYTES: usize = 24;

/// Largest magnitude that fits in f16, as the minimum must.
pub(super) const LIMIT: f32 = 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 32 elements for each block of 24 bytes.
pub fn dequantize_q5_1(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q5_1_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * GGML_BLOCK_SIZE,
        "q5_1: blocks of 24 bytes for 32 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(GGML_BLOCK_SIZE)) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let m = f16::from_le_bytes([block[2], block[3]]).to_f32();
        let codes = read_codes(&block[4..]);
        for (x, code) in out.iter_mut().zip(codes) {
            *x = d * f32::from(code) + m;
        }
    }
}

/// Packs whole blocks of finite values of at most 65504: `m = min`, `d = (max - min) / 31`,
/// `q = min(31, floor((w - m) / d + 0.5))`.
///
/// # Panics
/// If `blocks` does not have 24 bytes for each 32 values.
pub fn quantize_q5_1(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<GGML_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q5_1_BLOCK_BYTES,
        "q5_1: blocks of 24 bytes for 32 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q5_1_BLOCK_BYTES)) {
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let d = (max - min) / 31.0;
        let inverse = inverse_scale(d);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        block[2..4].copy_from_slice(&f16::from_f32(min).to_le_bytes());
        let codes = values.map(|x| floor((x - min) * inverse + 0.5).min(31));
        block[4..].copy_from_slice(&write_codes(&codes));
    }
}

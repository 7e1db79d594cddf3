//! ggml's Q6_K, which is read but not multiplied: blocks of 256 in sixteen groups of 16,
//! `w = d * s * (q - 32)` with an f16 `d`, signed bytes `s`, and 6-bit `q`.
//!
//! Block layout, 210 bytes: 128 of lower four bits, 64 of upper two bits, 16 scales, `d` (f16).
//! Halves of 128 elements have their own bytes; in each, quarters of 32 share them.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::K_BLOCK_SIZE;

/// Bytes of one block of 256 elements.
pub const Q6_K_BLOCK_BYTES: usize = 210;

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
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, d) = rest.split_at(16);
        let d = f16::from_le_bytes([d[0], d[1]]).to_f32();
        for (i, x) in out.iter_mut().enumerate() {
            let (half, quarter, lane) = (i / 128, i / 32 % 4, i % 32);
            let four = low[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 15;
            let two = high[half * 32 + lane] >> (quarter * 2) & 3;
            let scale = d * f32::from(scales[i / 16].cast_signed());
            *x = scale * f32::from((four | two << 4).cast_signed() - 32);
        }
    }
}

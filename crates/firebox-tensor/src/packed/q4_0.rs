//! ggml's Q4_0: blocks of 32, `w ≈ d * (q - 8)` with an f16 `d` and 4-bit `q`.
//!
//! Block layout, 18 bytes: `d` (f16), then 16 bytes of nibbles: byte `j` holds element `j` low and
//! element `j + 16` high.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::{GGML_BLOCK_SIZE, block_rounding::floor, q8_0::inverse_scale};

/// Bytes of one block of 32 elements.
pub const Q4_0_BLOCK_BYTES: usize = 18;

/// Largest magnitude whose scale fits in f16.
pub(super) const LIMIT: f32 = 8.0 * 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 32 elements for each block of 18 bytes.
pub fn dequantize_q4_0(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q4_0_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * GGML_BLOCK_SIZE,
        "q4_0: blocks of 18 bytes for 32 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(GGML_BLOCK_SIZE)) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let (low, high) = out.split_at_mut(GGML_BLOCK_SIZE / 2);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(&block[2..]) {
            *low = d * (f32::from(byte & 15) - 8.0);
            *high = d * (f32::from(byte >> 4) - 8.0);
        }
    }
}

/// Packs whole blocks of finite values of at most `8 * 65504`.
///
/// The element of largest magnitude (the first of equals) gets code 0, the only code with a
/// magnitude of 8: `d = w_max / -8`, `q = min(15, floor(w / d + 8.5))`.
///
/// # Panics
/// If `blocks` does not have 18 bytes for each 32 values.
pub fn quantize_q4_0(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<GGML_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q4_0_BLOCK_BYTES,
        "q4_0: blocks of 18 bytes for 32 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q4_0_BLOCK_BYTES)) {
        let d = first_largest(values) / -8.0;
        let inverse = inverse_scale(d);
        let code = |x: f32| floor(x * inverse + 8.5).min(15);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        let (low, high) = values.split_at(GGML_BLOCK_SIZE / 2);
        for ((byte, low), high) in block[2..].iter_mut().zip(low).zip(high) {
            *byte = code(*low) | code(*high) << 4;
        }
    }
}

/// The element of largest magnitude, with its sign; the first of equals.
pub(super) fn first_largest(values: &[f32; GGML_BLOCK_SIZE]) -> f32 {
    values[1..].iter().fold(
        values[0],
        |max, x| if x.abs() > max.abs() { *x } else { max },
    )
}

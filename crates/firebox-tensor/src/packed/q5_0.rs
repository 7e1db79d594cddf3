//! ggml's Q5_0: as Q4_0 with 5-bit `q`, blocks of 32, `w ≈ d * (q - 16)`.
//!
//! Block layout, 22 bytes: `d` (f16), 4 bytes of fifth bits, then 16 bytes of nibbles: byte `j` holds
//! element `j` low and element `j + 16` high.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use half::f16;

use crate::packed::{
    GGML_BLOCK_SIZE, block_rounding::floor, q4_0::first_largest, q8_0::inverse_scale,
};

/// Bytes of one block of 32 elements.
pub const Q5_0_BLOCK_BYTES: usize = 22;

/// Largest magnitude whose scale fits in f16.
pub(super) const LIMIT: f32 = 16.0 * 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 32 elements for each block of 22 bytes.
pub fn dequantize_q5_0(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q5_0_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * GGML_BLOCK_SIZE,
        "q5_0: blocks of 22 bytes for 32 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(GGML_BLOCK_SIZE)) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let codes = read_codes(&block[2..]);
        for (x, code) in out.iter_mut().zip(codes) {
            *x = d * f32::from(code.cast_signed() - 16);
        }
    }
}

/// Packs whole blocks of finite values of at most `16 * 65504`.
///
/// The element of largest magnitude (the first of equals) gets code 0, the only code with a
/// magnitude of 16: `d = w_max / -16`, `q = min(31, floor(w / d + 16.5))`.
///
/// # Panics
/// If `blocks` does not have 22 bytes for each 32 values.
pub fn quantize_q5_0(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<GGML_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q5_0_BLOCK_BYTES,
        "q5_0: blocks of 22 bytes for 32 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q5_0_BLOCK_BYTES)) {
        let d = first_largest(values) / -16.0;
        let inverse = inverse_scale(d);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        let codes = values.map(|x| floor(x * inverse + 16.5).min(31));
        block[2..].copy_from_slice(&write_codes(&codes));
    }
}

/// Codes of five bits: 4 bytes of fifth bits, 16 of nibbles.
pub(crate) fn read_codes(bytes: &[u8]) -> [u8; GGML_BLOCK_SIZE] {
    let (high, low) = bytes.split_at(4);
    std::array::from_fn(|i| {
        let nibble = low[i % 16] >> (i / 16 * 4) & 15;
        let fifth = high[i / 8] >> (i % 8) & 1;
        nibble | fifth << 4
    })
}

/// The opposite of [`read_codes`].
pub(super) fn write_codes(codes: &[u8]) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (i, code) in codes.iter().enumerate() {
        bytes[i / 8] |= (code >> 4) << (i % 8);
        bytes[4 + i % 16] |= (code & 15) << (i / 16 * 4);
    }
    bytes
}

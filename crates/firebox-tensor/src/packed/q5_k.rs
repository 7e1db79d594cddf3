//! ggml's Q5_K: as Q4_K, with 5-bit `q`.
//!
//! Block layout, 176 bytes: 16 of [`Groups`], 32 of fifth bits (bit `g` of byte `j` belongs to
//! element `j` of group `g`), then 128 of nibbles as in Q4_K.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use crate::packed::{
    GGML_BLOCK_SIZE, K_BLOCK_SIZE,
    k_search::search,
    k_super_block::{Groups, nibble},
};

/// Bytes of one block of 256 elements.
pub const Q5_K_BLOCK_BYTES: usize = 176;

/// Largest magnitude whose minimum fits in `63 * f16`.
pub(super) const LIMIT: f32 = 63.0 * 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 256 elements for each block of 176 bytes.
pub fn dequantize_q5_k(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q5_K_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * K_BLOCK_SIZE,
        "q5_k: blocks of 176 bytes for 256 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(K_BLOCK_SIZE)) {
        let (head, rest) = block.split_at(Groups::HEAD_BYTES);
        let (high, codes) = rest.split_at(GGML_BLOCK_SIZE);
        let groups = Groups::read(head);
        for (g, out) in out.chunks_exact_mut(GGML_BLOCK_SIZE).enumerate() {
            let (scale, minimum) = groups.line(g);
            for (i, x) in out.iter_mut().enumerate() {
                let fifth = high[i] >> g & 1;
                *x = scale * f32::from(nibble(codes, g, i) | fifth << 4) - minimum;
            }
        }
    }
}

/// Packs whole blocks of finite values of at most `63 * 65504`, as
/// [`quantize_q4_k`](crate::packed::quantize_q4_k) does.
///
/// # Panics
/// If `blocks` does not have 176 bytes for each 256 values.
pub fn quantize_q5_k(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<K_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q5_K_BLOCK_BYTES,
        "q5_k: blocks of 176 bytes for 256 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q5_K_BLOCK_BYTES)) {
        let (groups, codes) = search(values, 31);
        let (head, rest) = block.split_at_mut(Groups::HEAD_BYTES);
        groups.write(head);
        rest.copy_from_slice(&write_codes(&codes));
    }
}

/// Codes of five bits: 32 bytes of fifth bits, 128 of nibbles.
pub(super) fn write_codes(codes: &[u8]) -> [u8; 160] {
    let mut bytes = [0; 160];
    for (i, code) in codes.iter().enumerate() {
        let (group, lane) = (i / GGML_BLOCK_SIZE, i % GGML_BLOCK_SIZE);
        bytes[lane] |= (code >> 4) << group;
        bytes[32 + group / 2 * 32 + lane] |= (code & 15) << (group % 2 * 4);
    }
    bytes
}

//! ggml's Q5_K, which is read but not multiplied: as Q4_K, with 5-bit `q`.
//!
//! Block layout, 176 bytes: 16 of [`Groups`], 32 of fifth bits (bit `g` of byte `j` belongs to
//! element `j` of group `g`), then 128 of nibbles as in Q4_K.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use crate::packed::{
    GGML_BLOCK_SIZE, K_BLOCK_SIZE,
    k_super_block::{Groups, nibble},
};

/// Bytes of one block of 256 elements.
pub const Q5_K_BLOCK_BYTES: usize = 176;

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

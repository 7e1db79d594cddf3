//! ggml's Q4_K: blocks of 256 in eight groups of 32, `w ≈ d * s * q - dmin * m` with f16 `d` and
//! `dmin`, and for each group 6-bit `s` and `m`; 4-bit `q`.
//!
//! Block layout, 144 bytes: 16 of [`Groups`], then 128 of nibbles, 32 for each pair of groups: byte
//! `j` holds element `j` of the even group low and of the odd group high.
//!
//! Source: `ggml/src/ggml-quants.c` of llama.cpp and the `gguf` Python package 0.19.

use crate::packed::{
    GGML_BLOCK_SIZE, K_BLOCK_SIZE,
    k_search::search,
    k_super_block::{Groups, nibble},
};

/// Bytes of one block of 256 elements.
pub const Q4_K_BLOCK_BYTES: usize = 144;

/// Largest magnitude whose minimum fits in `63 * f16`.
pub(super) const LIMIT: f32 = 63.0 * 65_504.0;

/// Unpacks whole blocks.
///
/// # Panics
/// If `out` does not have 256 elements for each block of 144 bytes.
pub fn dequantize_q4_k(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks::<Q4_K_BLOCK_BYTES>();
    assert!(
        rest.is_empty() && out.len() == blocks.len() * K_BLOCK_SIZE,
        "q4_k: blocks of 144 bytes for 256 values each"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(K_BLOCK_SIZE)) {
        let (head, codes) = block.split_at(Groups::HEAD_BYTES);
        let groups = Groups::read(head);
        for (g, out) in out.chunks_exact_mut(GGML_BLOCK_SIZE).enumerate() {
            let (scale, minimum) = groups.line(g);
            for (i, x) in out.iter_mut().enumerate() {
                *x = scale * f32::from(nibble(codes, g, i)) - minimum;
            }
        }
    }
}

/// Packs whole blocks of finite values of at most `63 * 65504`. Scales and minimums are searched
/// for: those of least squared error, where larger values count for more.
///
/// # Panics
/// If `blocks` does not have 144 bytes for each 256 values.
pub fn quantize_q4_k(values: &[f32], blocks: &mut [u8]) {
    let (values, rest) = values.as_chunks::<K_BLOCK_SIZE>();
    assert!(
        rest.is_empty() && blocks.len() == values.len() * Q4_K_BLOCK_BYTES,
        "q4_k: blocks of 144 bytes for 256 values each"
    );
    for (values, block) in values.iter().zip(blocks.chunks_exact_mut(Q4_K_BLOCK_BYTES)) {
        let (groups, codes) = search(values, 15);
        let (head, nibbles) = block.split_at_mut(Groups::HEAD_BYTES);
        groups.write(head);
        let pairs = codes.chunks_exact(2 * GGML_BLOCK_SIZE);
        for (nibbles, pair) in nibbles.chunks_exact_mut(GGML_BLOCK_SIZE).zip(pairs) {
            let (even, odd) = pair.split_at(GGML_BLOCK_SIZE);
            for ((byte, even), odd) in nibbles.iter_mut().zip(even).zip(odd) {
                *byte = even | odd << 4;
            }
        }
    }
}

//! The ggml formats, which differ only in their blocks.

use rayon::prelude::*;

use crate::packed::{
    GGML_BLOCK_SIZE, K_BLOCK_SIZE, Q4_0_BLOCK_BYTES, Q4_1_BLOCK_BYTES, Q4_K_BLOCK_BYTES,
    Q8_0_BLOCK_BYTES, dequantize_q4_0, dequantize_q4_1, dequantize_q4_k, dequantize_q8_0,
    quantize_q4_0, quantize_q4_1, quantize_q4_k, quantize_q8_0,
};

/// Which blocks a weight is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum GgmlKind {
    Q8_0,
    Q4_0,
    Q4_1,
    Q4K,
}

impl GgmlKind {
    /// Elements of a block.
    fn block_len(self) -> usize {
        match self {
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => GGML_BLOCK_SIZE,
            Self::Q4K => K_BLOCK_SIZE,
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            Self::Q8_0 => Q8_0_BLOCK_BYTES,
            Self::Q4_0 => Q4_0_BLOCK_BYTES,
            Self::Q4_1 => Q4_1_BLOCK_BYTES,
            Self::Q4K => Q4_K_BLOCK_BYTES,
        }
    }

    pub(super) fn row_bytes(self, n_cols: usize) -> usize {
        n_cols / self.block_len() * self.block_bytes()
    }

    pub(super) fn pack(self, weight: &[f32]) -> Vec<u8> {
        const VALUES_PER_TASK: usize = 1 << 14;
        let quantize = match self {
            Self::Q8_0 => quantize_q8_0,
            Self::Q4_0 => quantize_q4_0,
            Self::Q4_1 => quantize_q4_1,
            Self::Q4K => quantize_q4_k,
        };
        let mut blocks = vec![0; self.row_bytes(weight.len())];
        weight
            .par_chunks(VALUES_PER_TASK)
            .zip(blocks.par_chunks_mut(self.row_bytes(VALUES_PER_TASK)))
            .for_each(|(values, blocks)| quantize(values, blocks));
        blocks
    }

    pub(super) fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        match self {
            Self::Q8_0 => dequantize_q8_0(blocks, out),
            Self::Q4_0 => dequantize_q4_0(blocks, out),
            Self::Q4_1 => dequantize_q4_1(blocks, out),
            Self::Q4K => dequantize_q4_k(blocks, out),
        }
    }
}

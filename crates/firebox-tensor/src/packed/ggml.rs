//! The ggml formats, which differ only in their blocks.

use rayon::prelude::*;

use crate::packed::{
    GGML_BLOCK_SIZE, Int4Groups, K_BLOCK_SIZE, PackedFormat, Q4_0_BLOCK_BYTES, Q4_1_BLOCK_BYTES,
    Q4_K_BLOCK_BYTES, Q5_0_BLOCK_BYTES, Q5_1_BLOCK_BYTES, Q5_K_BLOCK_BYTES, Q6_K_BLOCK_BYTES,
    Q8_0_BLOCK_BYTES, codebook4::Codebook4, dequantize_q4_0, dequantize_q4_1, dequantize_q4_k,
    dequantize_q5_0, dequantize_q5_1, dequantize_q5_k, dequantize_q6_k, dequantize_q8_0,
    quantize_q4_0, quantize_q4_1, quantize_q4_k, quantize_q5_0, quantize_q5_1, quantize_q5_k,
    quantize_q6_k, quantize_q8_0,
};

/// Which blocks a weight is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum GgmlKind {
    Q8_0,
    Q4_0,
    Q4_1,
    Q4K,
    Q5_0,
    Q5_1,
    Q5K,
    Q6K,
}

impl GgmlKind {
    /// Elements of a block.
    pub(super) fn block_len(self) -> usize {
        match self {
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => GGML_BLOCK_SIZE,
            Self::Q4K | Self::Q5K | Self::Q6K => K_BLOCK_SIZE,
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            Self::Q8_0 => Q8_0_BLOCK_BYTES,
            Self::Q4_0 => Q4_0_BLOCK_BYTES,
            Self::Q4_1 => Q4_1_BLOCK_BYTES,
            Self::Q4K => Q4_K_BLOCK_BYTES,
            Self::Q5_0 => Q5_0_BLOCK_BYTES,
            Self::Q5_1 => Q5_1_BLOCK_BYTES,
            Self::Q5K => Q5_K_BLOCK_BYTES,
            Self::Q6K => Q6_K_BLOCK_BYTES,
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
            Self::Q5_0 => quantize_q5_0,
            Self::Q5_1 => quantize_q5_1,
            Self::Q5K => quantize_q5_k,
            Self::Q6K => quantize_q6_k,
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
            Self::Q5_0 => dequantize_q5_0(blocks, out),
            Self::Q5_1 => dequantize_q5_1(blocks, out),
            Self::Q5K => dequantize_q5_k(blocks, out),
            Self::Q6K => dequantize_q6_k(blocks, out),
        }
    }
}

/// Formats that are stored alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Family {
    Codebook4(Codebook4),
    /// With scales that are quantized themselves.
    Codebook4DoubleQuant(Codebook4),
    Int8,
    Ggml(GgmlKind),
    Int4(Int4Groups),
}

impl PackedFormat {
    /// How weights of this format are stored.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Nf4 => Family::Codebook4(Codebook4::Nf4),
            Self::Nf4DoubleQuant => Family::Codebook4DoubleQuant(Codebook4::Nf4),
            Self::Fp4 => Family::Codebook4(Codebook4::Fp4),
            Self::Fp4DoubleQuant => Family::Codebook4DoubleQuant(Codebook4::Fp4),
            Self::Int8Rowwise => Family::Int8,
            Self::Q8_0 => Family::Ggml(GgmlKind::Q8_0),
            Self::Q4_0 => Family::Ggml(GgmlKind::Q4_0),
            Self::Q4_1 => Family::Ggml(GgmlKind::Q4_1),
            Self::Q4K => Family::Ggml(GgmlKind::Q4K),
            Self::Q5_0 => Family::Ggml(GgmlKind::Q5_0),
            Self::Q5_1 => Family::Ggml(GgmlKind::Q5_1),
            Self::Q5K => Family::Ggml(GgmlKind::Q5K),
            Self::Q6K => Family::Ggml(GgmlKind::Q6K),
            Self::Int4(groups) => Family::Int4(groups),
        }
    }

    /// Bytes of a block of [`Self::row_multiple`] values; `None` where the format has no blocks of
    /// ggml's.
    pub fn ggml_block_bytes(self) -> Option<usize> {
        match self.family() {
            Family::Ggml(kind) => Some(kind.block_bytes()),
            Family::Codebook4(_)
            | Family::Codebook4DoubleQuant(_)
            | Family::Int8
            | Family::Int4(_) => None,
        }
    }
}

//! Blocks to `f32`, in exactly the order of operations of llama.cpp and of the `gguf`
//! Python package, so that the results agree to the last bit.
//!
//! Source: llama.cpp, `ggml/src/ggml-quants.c`, `dequantize_row_q*`.

use firebox_tensor::packed::{
    dequantize_q4_0, dequantize_q4_1, dequantize_q4_k, dequantize_q5_0, dequantize_q5_1,
    dequantize_q5_k, dequantize_q6_k, dequantize_q8_0,
};
use rayon::prelude::*;

use super::kind::GgmlType;
use crate::{dtype::Dtype, encoding::decode};

/// Values that one task decodes.
const CHUNK: usize = 1 << 14;

/// The values of whole blocks, which need not be aligned, on all cores.
pub(super) fn dequantize(kind: GgmlType, bytes: &[u8]) -> Vec<f32> {
    let blocks: fn(&[u8], &mut [f32]) = match kind {
        GgmlType::F32 => return decode(Dtype::F32, bytes).unwrap_or_default(),
        GgmlType::F16 => return decode(Dtype::F16, bytes).unwrap_or_default(),
        GgmlType::BF16 => return decode(Dtype::BF16, bytes).unwrap_or_default(),
        GgmlType::Q4_0 => dequantize_q4_0,
        GgmlType::Q4_1 => dequantize_q4_1,
        GgmlType::Q8_0 => dequantize_q8_0,
        GgmlType::Q5_0 => dequantize_q5_0,
        GgmlType::Q5_1 => dequantize_q5_1,
        GgmlType::Q4K => dequantize_q4_k,
        GgmlType::Q5K => dequantize_q5_k,
        GgmlType::Q6K => dequantize_q6_k,
    };
    let chunk_bytes = CHUNK / kind.block_len() * kind.block_bytes();
    let mut values = vec![0.0; bytes.len() / kind.block_bytes() * kind.block_len()];
    values
        .par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(chunk_bytes))
        .for_each(|(out, bytes)| blocks(bytes, out));
    values
}

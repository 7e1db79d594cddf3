//! Blocks to `f32`, in exactly the order of operations of llama.cpp and of the `gguf`
//! Python package, so that the results agree to the last bit.
//!
//! Source: llama.cpp, `ggml/src/ggml-quants.c`, `dequantize_row_q*`.

use firebox_tensor::packed::{
    dequantize_q4_0, dequantize_q4_1, dequantize_q4_k, dequantize_q5_k, dequantize_q6_k,
    dequantize_q8_0,
};
use half::f16;
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

/// Half precision at `at`.
fn scale<const N: usize>(block: &[u8; N], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// `d * (q - 16)`: d f16, the fifth bits of 32 codes, their lower four bits; the first half of the
/// codes in the lower nibbles.
fn dequantize_q5_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .as_chunks::<22>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<32>().0)
    {
        let d = scale(block, 0);
        let codes = five_bit_codes(block, 2);
        for (y, code) in out.iter_mut().zip(codes) {
            *y = d * f32::from(code.cast_signed() - 16);
        }
    }
}

/// `d * q + m`: like `q5_0`, with a minimum.
fn dequantize_q5_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .as_chunks::<24>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<32>().0)
    {
        let (d, m) = (scale(block, 0), scale(block, 2));
        let codes = five_bit_codes(block, 4);
        for (y, code) in out.iter_mut().zip(codes) {
            *y = d * f32::from(code) + m;
        }
    }
}

fn five_bit_codes<const N: usize>(block: &[u8; N], at: usize) -> [u8; 32] {
    let (high, low) = (&block[at..at + 4], &block[at + 4..at + 20]);
    std::array::from_fn(|i| {
        let nibble = (low[i % 16] >> (i / 16 * 4)) & 0x0f;
        let fifth = (high[i / 8] >> (i % 8)) & 1;
        nibble | fifth << 4
    })
}

//! NF4, the 4-bit NormalFloat of QLoRA, byte for byte as bitsandbytes packs it on the CPU.
//!
//! The weight is flattened row-major and cut into blocks of 64. Each block is divided by its
//! largest magnitude and each element replaced by the index of the nearest of 16 codebook values.
//! Two indices share a byte: the element that comes first has the high nibble.
//!
//! Source: Dettmers et al. (2023), <https://arxiv.org/abs/2305.14314>, section 3 and appendix E.

use rayon::prelude::*;

use crate::packed::block_rounding::absmax;

/// Elements that share one `absmax`.
pub const NF4_BLOCK_SIZE: usize = 64;

/// The 16 values of NF4: quantiles of the standard normal, scaled to `[-1, 1]`, with an exact 0.
pub const NF4_CODEBOOK: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Halfway between neighbours of the codebook. An element exactly on one takes the lower code.
const THRESHOLDS: [f32; 15] = {
    let mut thresholds = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        thresholds[i] = (NF4_CODEBOOK[i] + NF4_CODEBOOK[i + 1]) / 2.0;
        i += 1;
    }
    thresholds
};

/// Both codebook values of each byte, high nibble first.
static VALUE_PAIRS: [[f32; 2]; 256] = {
    let mut pairs = [[0.0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [NF4_CODEBOOK[byte >> 4], NF4_CODEBOOK[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Elements whose codes are found together; 16 counts stay in registers.
const LANES: usize = 16;
/// bitsandbytes never divides by less than this.
const MIN_ABSMAX: f32 = 1e-38;
/// Blocks that one task packs or unpacks.
const BLOCKS_PER_TASK: usize = 256;

/// Number of blocks, the last one perhaps partial.
pub(super) fn n_blocks(n: usize) -> usize {
    n.div_ceil(NF4_BLOCK_SIZE)
}

/// Packs finite weights into `(codes, absmax)`.
pub(super) fn pack(weight: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0; weight.len().div_ceil(2)];
    let mut scales = vec![0.0; n_blocks(weight.len())];
    weight
        .par_chunks(NF4_BLOCK_SIZE * BLOCKS_PER_TASK)
        .zip(codes.par_chunks_mut(NF4_BLOCK_SIZE / 2 * BLOCKS_PER_TASK))
        .zip(scales.par_chunks_mut(BLOCKS_PER_TASK))
        .for_each(|((weight, codes), scales)| {
            let blocks = weight.chunks(NF4_BLOCK_SIZE);
            for ((block, codes), scale) in
                blocks.zip(codes.chunks_mut(NF4_BLOCK_SIZE / 2)).zip(scales)
            {
                *scale = pack_block(block, codes);
            }
        });
    (codes, scales)
}

/// Packs one block, whole or partial, and returns its `absmax`.
fn pack_block(block: &[f32], codes: &mut [u8]) -> f32 {
    // What a partial block leaves is 0: so is the spare nibble of an odd weight.
    let mut scaled = [0.0; NF4_BLOCK_SIZE];
    let scale = if block.len() == NF4_BLOCK_SIZE {
        let absmax = absmax(block);
        let inverse = 1.0 / absmax.max(MIN_ABSMAX);
        for (scaled, x) in scaled.iter_mut().zip(block) {
            *scaled = x * inverse;
        }
        absmax
    } else {
        // bitsandbytes divides in a partial block, where it multiplies in a whole one, and stores
        // the floor of the scale: the bytes must agree in both.
        let absmax = absmax(block).max(MIN_ABSMAX);
        for (scaled, x) in scaled.iter_mut().zip(block) {
            *scaled = x / absmax;
        }
        absmax
    };
    let (scaled, _) = scaled.as_chunks();
    for (codes, scaled) in codes.chunks_mut(LANES / 2).zip(scaled) {
        let packed = pack_lanes(scaled);
        codes.copy_from_slice(&packed[..codes.len()]);
    }
    scale
}

/// The codes of 16 elements, two in a byte.
///
/// Plain index loops over arrays: they vectorize even where the iterator adapters of another
/// codegen unit are not inlined.
fn pack_lanes(scaled: &[f32; LANES]) -> [u8; LANES / 2] {
    // The nearest codebook value has as many thresholds below the element as its index says.
    let mut counts = [0_u32; LANES];
    for threshold in THRESHOLDS {
        for lane in 0..LANES {
            counts[lane] += u32::from(scaled[lane] > threshold);
        }
    }
    let mut packed = [0; LANES / 2];
    for byte in 0..LANES / 2 {
        packed[byte] = (counts[2 * byte] << 4 | counts[2 * byte + 1]) as u8;
    }
    packed
}

/// The code of the codebook value nearest to `x`.
pub(super) fn nearest_code(x: f32) -> u8 {
    THRESHOLDS
        .iter()
        .map(|threshold| u8::from(x > *threshold))
        .sum()
}

/// The codebook value nearest to `x`, but for rounding: a sum of steps, without a table.
#[inline(always)]
pub(super) fn nearest_level(x: f32) -> f32 {
    let mut level = NF4_CODEBOOK[0];
    for i in 0..15 {
        let step = NF4_CODEBOOK[i + 1] - NF4_CODEBOOK[i];
        level += if x > THRESHOLDS[i] { step } else { 0.0 };
    }
    level
}

/// Writes elements `start ..` of the flattened weight into `out`; `scale` gives a block's
/// `absmax`.
pub(super) fn unpack(codes: &[u8], scale: impl Fn(usize) -> f32, start: usize, out: &mut [f32]) {
    let mut position = start;
    let mut rest = out;
    while !rest.is_empty() {
        let in_block = NF4_BLOCK_SIZE - position % NF4_BLOCK_SIZE;
        let (segment, after) = rest.split_at_mut(in_block.min(rest.len()));
        unpack_segment(codes, scale(position / NF4_BLOCK_SIZE), position, segment);
        position += segment.len();
        rest = after;
    }
}

/// The same for elements of one block.
fn unpack_segment(codes: &[u8], scale: f32, start: usize, out: &mut [f32]) {
    let (first, out) = out.split_at_mut(start % 2);
    if let [first] = first {
        *first = VALUE_PAIRS[usize::from(codes[start / 2])][1] * scale;
    }
    let codes = &codes[start.div_ceil(2)..];
    let (pairs, last) = out.as_chunks_mut::<2>();
    for (pair, code) in pairs.iter_mut().zip(codes) {
        let [high, low] = VALUE_PAIRS[usize::from(*code)];
        *pair = [high * scale, low * scale];
    }
    if let [last] = last {
        *last = VALUE_PAIRS[usize::from(codes[pairs.len()])][0] * scale;
    }
}

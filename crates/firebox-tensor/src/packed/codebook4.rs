//! Weights of 4 bits over a codebook, byte for byte as bitsandbytes packs them on the CPU: NF4 and FP4.
//!
//! The weight is flattened row-major and cut into blocks of 64. Each block is divided by its
//! largest magnitude and each element replaced by the code of the nearest of 16 values. Two codes
//! share a byte: the element that comes first has the high nibble.
//!
//! Source: Dettmers et al. (2023), <https://arxiv.org/abs/2305.14314>, section 3.

#![expect(
    clippy::needless_range_loop,
    reason = "iterator adapters of another codegen unit are not inlined into a level's function"
)]

use rayon::prelude::*;

use crate::host::{Kernel, Simd, SimdLevel, bucketize, dispatch};
use crate::packed::{FP4_CODEBOOK, NF4_CODEBOOK, block_rounding::absmax, fp4, nf4};

/// Elements of NF4 and of FP4 that share one `absmax`.
pub const NF4_BLOCK_SIZE: usize = 64;

/// Which 16 values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codebook4 {
    Nf4,
    Fp4,
}

static NF4: Table = Table::new(NF4_CODEBOOK, nf4::ORDER);
static FP4: Table = Table::new(FP4_CODEBOOK, fp4::ORDER);

/// What packing and unpacking look up.
struct Table {
    /// By code.
    levels: [f32; 16],
    /// Codes by ascending level.
    order: [u8; 16],
    /// Whether codes ascend with their levels.
    is_ordered: bool,
    /// Levels ascending.
    ascending: [f32; 16],
    /// Halfway between neighbours of `ascending`. An element exactly on one takes the lower level.
    thresholds: [f32; 15],
    /// Two codes for two places in `order`, high nibble first.
    codes: [u8; 256],
    /// Two levels for two codes, high nibble first.
    level_pairs: [[f32; 2]; 256],
}

impl Table {
    const fn new(levels: [f32; 16], order: [u8; 16]) -> Self {
        let mut table = Self {
            levels,
            order,
            is_ordered: true,
            ascending: [0.0; 16],
            thresholds: [0.0; 15],
            codes: [0; 256],
            level_pairs: [[0.0; 2]; 256],
        };
        let mut i = 0;
        while i < 16 {
            table.is_ordered &= order[i] as usize == i;
            table.ascending[i] = levels[order[i] as usize];
            if i > 0 {
                table.thresholds[i - 1] = (table.ascending[i - 1] + table.ascending[i]) / 2.0;
            }
            i += 1;
        }
        let mut byte = 0;
        while byte < 256 {
            table.codes[byte] = order[byte >> 4] << 4 | order[byte & 15];
            table.level_pairs[byte] = [levels[byte >> 4], levels[byte & 15]];
            byte += 1;
        }
        table
    }
}

/// Bytes of a block's codes.
const CODE_BYTES: usize = NF4_BLOCK_SIZE / 2;
/// bitsandbytes never divides by less than this.
const MIN_ABSMAX: f32 = 1e-38;
/// Blocks that one task packs or unpacks.
const BLOCKS_PER_TASK: usize = 256;

/// Number of blocks, the last one perhaps partial.
pub(super) fn n_blocks(n: usize) -> usize {
    n.div_ceil(NF4_BLOCK_SIZE)
}

impl Codebook4 {
    fn table(self) -> &'static Table {
        match self {
            Self::Nf4 => &NF4,
            Self::Fp4 => &FP4,
        }
    }

    /// The 16 values, by code.
    pub(crate) fn levels(self) -> &'static [f32; 16] {
        &self.table().levels
    }

    /// Packs finite weights into `(codes, absmax)`.
    pub(super) fn pack(self, weight: &[f32]) -> (Vec<u8>, Vec<f32>) {
        self.pack_at(SimdLevel::current(), weight)
    }

    /// The same with the instructions of a level.
    fn pack_at(self, level: SimdLevel, weight: &[f32]) -> (Vec<u8>, Vec<f32>) {
        let mut codes = vec![0; weight.len().div_ceil(2)];
        let mut scales = vec![0.0; n_blocks(weight.len())];
        weight
            .par_chunks(NF4_BLOCK_SIZE * BLOCKS_PER_TASK)
            .zip(codes.par_chunks_mut(CODE_BYTES * BLOCKS_PER_TASK))
            .zip(scales.par_chunks_mut(BLOCKS_PER_TASK))
            .for_each(|((weight, codes), scales)| {
                let blocks = PackBlocks {
                    book: self,
                    weight,
                    codes,
                    scales,
                };
                dispatch(level, blocks);
            });
        (codes, scales)
    }

    /// The code that [`Self::pack`] gives `x` in a whole block of this `absmax`, and its value.
    pub(super) fn nearest(self, x: f32, absmax: f32) -> (u8, f32) {
        let table = self.table();
        // A block of zeros holds nothing else.
        let scaled = match absmax {
            0.0 => 0.0,
            _ => x * (1.0 / absmax.max(MIN_ABSMAX)),
        };
        let above = |threshold: &&f32| scaled > **threshold;
        let code = table.order[table.thresholds.iter().filter(above).count()];
        (code, table.levels[usize::from(code)] * absmax)
    }

    /// The level nearest to `x`, but for rounding: a sum of steps, without a table.
    #[inline(always)]
    pub(super) fn nearest_level(self, x: f32) -> f32 {
        let table = self.table();
        let mut level = table.ascending[0];
        for i in 0..15 {
            let step = table.ascending[i + 1] - table.ascending[i];
            level += if x > table.thresholds[i] { step } else { 0.0 };
        }
        level
    }

    /// Writes elements `start ..` of the flattened weight into `out`; `scale` gives a block's
    /// `absmax`.
    pub(super) fn unpack(
        self,
        codes: &[u8],
        scale: impl Fn(usize) -> f32,
        start: usize,
        out: &mut [f32],
    ) {
        let mut position = start;
        let mut rest = out;
        while !rest.is_empty() {
            let in_block = NF4_BLOCK_SIZE - position % NF4_BLOCK_SIZE;
            let (segment, after) = rest.split_at_mut(in_block.min(rest.len()));
            self.unpack_segment(codes, scale(position / NF4_BLOCK_SIZE), position, segment);
            position += segment.len();
            rest = after;
        }
    }

    /// The same for elements of one block.
    fn unpack_segment(self, codes: &[u8], scale: f32, start: usize, out: &mut [f32]) {
        let values = &self.table().level_pairs;
        let (first, out) = out.split_at_mut(start % 2);
        if let [first] = first {
            *first = values[usize::from(codes[start / 2])][1] * scale;
        }
        let codes = &codes[start.div_ceil(2)..];
        let (pairs, last) = out.as_chunks_mut::<2>();
        for (pair, code) in pairs.iter_mut().zip(codes) {
            let [high, low] = values[usize::from(*code)];
            *pair = [high * scale, low * scale];
        }
        if let [last] = last {
            *last = values[usize::from(codes[pairs.len()])][0] * scale;
        }
    }
}

/// Some blocks, compiled for each level: the same operations on more elements at once.
struct PackBlocks<'a> {
    book: Codebook4,
    weight: &'a [f32],
    codes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl Kernel for PackBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Each with its own constants in the loops.
        match self.book {
            Codebook4::Nf4 => self.pack(simd, &NF4),
            Codebook4::Fp4 => self.pack(simd, &FP4),
        }
    }
}

impl PackBlocks<'_> {
    #[inline(always)]
    fn pack<S: Simd>(self, simd: S, table: &Table) {
        let (blocks, rest) = self.weight.as_chunks::<NF4_BLOCK_SIZE>();
        for i in 0..blocks.len() {
            let codes = &mut self.codes[i * CODE_BYTES..][..CODE_BYTES];
            let scaled;
            (self.scales[i], scaled) = scaled_whole(&blocks[i]);
            codes.copy_from_slice(&pack_scaled(simd, table, &scaled));
        }
        if !rest.is_empty() {
            let scaled;
            (self.scales[blocks.len()], scaled) = scaled_part(rest);
            let codes = &mut self.codes[blocks.len() * CODE_BYTES..];
            codes.copy_from_slice(&pack_scaled(simd, table, &scaled)[..codes.len()]);
        }
    }
}

/// The `absmax` of a block, and the block divided by it.
#[inline(always)]
fn scaled_whole(block: &[f32; NF4_BLOCK_SIZE]) -> (f32, [f32; NF4_BLOCK_SIZE]) {
    let absmax = absmax(block);
    let inverse = 1.0 / absmax.max(MIN_ABSMAX);
    let mut scaled = *block;
    for i in 0..NF4_BLOCK_SIZE {
        scaled[i] *= inverse;
    }
    (absmax, scaled)
}

/// The same for the last block, filled up with zeros: so is the spare nibble of an odd weight.
///
/// bitsandbytes divides in a partial block, where it multiplies in a whole one, and stores the floor of
/// the scale: the bytes must agree in both.
#[inline(always)]
fn scaled_part(block: &[f32]) -> (f32, [f32; NF4_BLOCK_SIZE]) {
    let absmax = absmax(block).max(MIN_ABSMAX);
    let mut scaled = [0.0; NF4_BLOCK_SIZE];
    for (scaled, x) in scaled.iter_mut().zip(block) {
        *scaled = x / absmax;
    }
    (absmax, scaled)
}

/// The codes of a block that was divided by its scale: the nearest level has as many thresholds below
/// the element as its place says.
#[inline(always)]
fn pack_scaled<S: Simd>(
    simd: S,
    table: &Table,
    scaled: &[f32; NF4_BLOCK_SIZE],
) -> [u8; CODE_BYTES] {
    let places = bucketize(simd, &table.thresholds, scaled);
    let mut codes = [0; CODE_BYTES];
    for i in 0..CODE_BYTES {
        codes[i] = (places[2 * i] << 4 | places[2 * i + 1]) as u8;
    }
    if !table.is_ordered {
        for i in 0..CODE_BYTES {
            codes[i] = table.codes[usize::from(codes[i])];
        }
    }
    codes
}

#[cfg(test)]
mod tests;

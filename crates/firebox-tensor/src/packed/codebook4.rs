//! Weights of 4 bits over a codebook, byte for byte as bitsandbytes packs them on the CPU: NF4 and FP4.
//!
//! The weight is flattened row-major and cut into blocks of 64. Each block is divided by its
//! largest magnitude and each element replaced by the code of the nearest of 16 values. Two codes
//! share a byte: the element that comes first has the high nibble.
//!
//! Source: Dettmers et al. (2023), <https://arxiv.org/abs/2305.14314>, section 3.

use rayon::prelude::*;

use crate::host::{Kernel, Simd, SimdLevel, dispatch};
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
            .zip(codes.par_chunks_mut(NF4_BLOCK_SIZE / 2 * BLOCKS_PER_TASK))
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

    /// Packs one block, whole or partial, and returns its `absmax`.
    #[inline(always)]
    fn pack_block(self, block: &[f32], codes: &mut [u8]) -> f32 {
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
            // bitsandbytes divides in a partial block, where it multiplies in a whole one, and
            // stores the floor of the scale: the bytes must agree in both.
            let absmax = absmax(block).max(MIN_ABSMAX);
            for (scaled, x) in scaled.iter_mut().zip(block) {
                *scaled = x / absmax;
            }
            absmax
        };
        // Each with its own constants in the loops.
        match self {
            Self::Nf4 => pack_scaled(&NF4, &scaled, codes),
            Self::Fp4 => pack_scaled(&FP4, &scaled, codes),
        }
        scale
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
    fn run<S: Simd>(self, _: S) {
        let blocks = self.weight.chunks(NF4_BLOCK_SIZE);
        let codes = self.codes.chunks_mut(NF4_BLOCK_SIZE / 2);
        for ((block, codes), scale) in blocks.zip(codes).zip(self.scales) {
            *scale = self.book.pack_block(block, codes);
        }
    }
}

/// The codes of a block that was divided by its scale.
#[inline(always)]
fn pack_scaled(table: &Table, scaled: &[f32; NF4_BLOCK_SIZE], codes: &mut [u8]) {
    let (scaled, _) = scaled.as_chunks();
    for (codes, scaled) in codes.chunks_mut(LANES / 2).zip(scaled) {
        let packed = pack_lanes(&table.thresholds, scaled);
        codes.copy_from_slice(&packed[..codes.len()]);
    }
    if !table.is_ordered {
        for byte in codes {
            *byte = table.codes[usize::from(*byte)];
        }
    }
}

/// The places in the codebook's order of 16 elements, two in a byte.
///
/// Plain index loops over arrays: they vectorize even where the iterator adapters of another
/// codegen unit are not inlined.
#[inline(always)]
fn pack_lanes(thresholds: &[f32; 15], scaled: &[f32; LANES]) -> [u8; LANES / 2] {
    // The nearest level has as many thresholds below the element as its place says.
    let mut counts = [0_u32; LANES];
    for threshold in thresholds {
        for lane in 0..LANES {
            counts[lane] += u32::from(scaled[lane] > *threshold);
        }
    }
    let mut packed = [0; LANES / 2];
    for byte in 0..LANES / 2 {
        packed[byte] = (counts[2 * byte] << 4 | counts[2 * byte + 1]) as u8;
    }
    packed
}

#[cfg(test)]
mod tests;

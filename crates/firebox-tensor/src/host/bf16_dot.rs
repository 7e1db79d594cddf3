//! Rows in pairs of bf16, for products of bf16 by bf16.
//!
//! With AVX-512 BF16 one instruction adds two products to a lane; elsewhere the pairs are taken
//! apart and computed in f32, from the same memory.

#![expect(unsafe_code, reason = "threads write disjoint parts of one output")]

use std::ops::Range;

use super::float_matmul::float_product;
use super::float_panel::FloatWeights;
use super::gemm::Product;
use super::left_rows::LeftRows;
use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};
use super::stored::Stored;

/// Pairs of `n` numbers; an odd last one is paired with zero.
pub(crate) fn n_pairs(n: usize) -> usize {
    n.div_ceil(2)
}

/// Columns `columns` of rows that are `width` wide.
#[derive(Clone)]
pub(crate) struct RowPart<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) width: usize,
    pub(crate) columns: Range<usize>,
}

impl RowPart<'_> {
    /// Replaces `pairs` by the rows rounded to bf16, two neighbouring columns in each number, the
    /// first one low: `[rows, pairs]`, `stride` from one row to the next.
    pub(crate) fn pair(&self, level: SimdLevel, stride: usize, pairs: &mut Vec<u32>) {
        let n_rows = self.x.len() / self.width;
        pairs.resize(n_rows * stride, 0);
        let pairs = SharedMut::new(pairs);
        for_each_rows(n_rows, self.columns.len(), |rows| {
            let kernel = PairRows {
                part: self.clone(),
                stride,
                rows,
                pairs,
            };
            dispatch(level, kernel);
        });
    }
}

/// Rows or columns of pairs times panels of pairs, on tiles where the level has them.
pub(crate) fn pair_product<W: FloatWeights<Value = u32>>(
    level: SimdLevel,
    left: LeftRows<'_, u32>,
    n_pairs: usize,
    weights: &W,
    result: &Product,
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Amx => super::amx::pair_product(left, n_pairs, weights, result),
        level => float_product(level, left, n_pairs, weights, result),
    }
}

struct PairRows<'a> {
    part: RowPart<'a>,
    stride: usize,
    rows: Range<usize>,
    pairs: SharedMut<u32>,
}

impl Kernel for PairRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let RowPart { x, width, columns } = self.part;
        let n_pairs = n_pairs(columns.len());
        for row in self.rows {
            // SAFETY: the output has this row, and it is this task's alone.
            let pairs = unsafe {
                std::slice::from_raw_parts_mut(self.pairs.ptr().add(row * self.stride), n_pairs)
            };
            pair_row(&x[row * width..][columns.clone()], pairs);
        }
    }
}

/// One row in pairs; an odd last value is paired with zero.
#[inline(always)]
pub(crate) fn pair_row<E: Stored>(x: &[E], pairs: &mut [u32]) {
    let (whole, rest) = x.as_chunks::<2>();
    for (pair, [low, high]) in pairs.iter_mut().zip(whole) {
        *pair = low.bf16_bits() | high.bf16_bits() << 16;
    }
    if let ([last], Some(pair)) = (rest, pairs.last_mut()) {
        *pair = last.bf16_bits();
    }
}

/// Rounds to the nearest bf16, ties to even; what is no number stays none.
#[inline(always)]
pub(crate) const fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let mut values = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-42];
        values.extend((0..5000).map(|i| f32::from_bits(0x3f80_0000 + i * 37)));
        for x in values {
            assert_eq!(
                bf16_bits(x),
                u32::from(half::bf16::from_f32(x).to_bits()),
                "{x}"
            );
        }
        assert!(half::bf16::from_bits(bf16_bits(f32::NAN) as u16).is_nan());
    }
}

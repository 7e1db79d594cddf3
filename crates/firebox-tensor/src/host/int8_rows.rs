//! Rows of activations in 8 bits with one scale each, outliers apart.
//!
//! Source: Dettmers et al. (2022), equation 8, <https://arxiv.org/abs/2208.07339>.

use std::ops::Range;

use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each_range};
use super::simd::{Kernel, Simd, dispatch};
use crate::packed::INT8_OUTLIERS_FROM;

/// Inputs whose products are summed in integers: 2^14 · 255 · 127 are less than 2^31.
pub(crate) const SPAN: usize = 1 << 14;

/// Rows that one task quantizes.
const ROWS_PER_TASK: usize = 4;

/// `x ≈ code * scale`, `scale = max |x| / 127` over a row's inputs that are no outliers; never -128.
#[derive(Debug, Default)]
pub(crate) struct Int8Rows {
    /// `[rows, width]`: zeros in place of outliers and behind a row's inputs.
    pub(crate) codes: Vec<i8>,
    /// `[rows]`.
    pub(crate) scales: Vec<f32>,
    /// The codes' sums over spans, `[rows, spans]`.
    pub(crate) sums: Vec<i32>,
    /// Of the first row, then of the second.
    outliers: Vec<Outlier>,
    /// Where each row's outliers end.
    ends: Vec<usize>,
}

/// An input of [`INT8_OUTLIERS_FROM`] and more, or no number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlier {
    pub(crate) column: usize,
    pub(crate) value: f32,
}

/// Inputs of a row, filled up to whole groups of four.
pub(crate) fn width(n_in: usize) -> usize {
    n_in.next_multiple_of(4)
}

/// Sums of a row.
pub(crate) fn n_spans(n_in: usize) -> usize {
    n_in.div_ceil(SPAN)
}

/// All others are outliers, also what is no number.
#[inline(always)]
fn is_rounded(x: f32) -> bool {
    x.abs() < INT8_OUTLIERS_FROM
}

impl Int8Rows {
    /// Replaces what is held by the rows of `x`, `[rows, n_in]`.
    pub(crate) fn fill(&mut self, level: SimdLevel, x: &[f32], n_in: usize) {
        let n_rows = x.len() / n_in;
        self.codes.resize(n_rows * width(n_in), 0);
        self.scales.resize(n_rows, 0.0);
        self.sums.resize(n_rows * n_spans(n_in), 0);
        self.ends.resize(n_rows, 0);
        let (codes, scales) = (
            SharedMut::new(&mut self.codes),
            SharedMut::new(&mut self.scales),
        );
        let (sums, n_outliers) = (
            SharedMut::new(&mut self.sums),
            SharedMut::new(&mut self.ends),
        );
        for_each_range(n_rows, ROWS_PER_TASK, |rows| {
            let kernel = QuantizeRows {
                x,
                n_in,
                rows,
                codes,
                scales,
                sums,
                n_outliers,
            };
            dispatch(level, kernel);
        });
        self.collect_outliers(x, n_in);
    }

    /// `ends` holds their numbers.
    fn collect_outliers(&mut self, x: &[f32], n_in: usize) {
        self.outliers.clear();
        for (end, row) in self.ends.iter_mut().zip(x.chunks_exact(n_in)) {
            if *end > 0 {
                let columns = row.iter().enumerate();
                let found = columns.filter(|(_, x)| !is_rounded(**x));
                self.outliers.extend(found.map(|(column, value)| Outlier {
                    column,
                    value: *value,
                }));
            }
            *end = self.outliers.len();
        }
    }

    /// Of one row.
    #[inline(always)]
    pub(crate) fn outliers(&self, row: usize) -> &[Outlier] {
        let first = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.outliers[first..self.ends[row]]
    }
}

struct QuantizeRows<'a> {
    x: &'a [f32],
    n_in: usize,
    rows: Range<usize>,
    codes: SharedMut<i8>,
    scales: SharedMut<f32>,
    sums: SharedMut<i32>,
    n_outliers: SharedMut<usize>,
}

impl Kernel for QuantizeRows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "threads write disjoint rows of one output")]
    fn run<S: Simd>(self, _: S) {
        let (width, n_spans) = (width(self.n_in), n_spans(self.n_in));
        for row in self.rows {
            let x = &self.x[row * self.n_in..][..self.n_in];
            // SAFETY: the outputs have a place for every row, and this row is this task's alone.
            unsafe {
                let codes = self.codes.ptr().add(row * width);
                let codes = std::slice::from_raw_parts_mut(codes, width);
                let sums = self.sums.ptr().add(row * n_spans);
                let sums = std::slice::from_raw_parts_mut(sums, n_spans);
                let (scale, n_outliers) = quantize(x, codes, sums);
                self.scales.ptr().add(row).write(scale);
                self.n_outliers.ptr().add(row).write(n_outliers);
            }
        }
    }
}

/// Writes codes and their sums; the scale, and the number of outliers.
#[inline(always)]
fn quantize(x: &[f32], codes: &mut [i8], sums: &mut [i32]) -> (f32, usize) {
    /// `1.5 * 2^23`: adding it rounds to an integer, ties to even.
    const INTEGER_BITS: f32 = 12_582_912.0;
    let (mut absmax, mut n_outliers) = (0.0_f32, 0);
    for x in x {
        let is_larger = is_rounded(*x) && x.abs() > absmax;
        absmax = if is_larger { x.abs() } else { absmax };
        n_outliers += usize::from(!is_rounded(*x));
    }
    let mut inverse = 127.0 / absmax;
    if !inverse.is_finite() {
        // A row of zeros, or of what is as good as that.
        (inverse, absmax) = (0.0, 0.0);
    }
    for (span, sum) in sums.iter_mut().enumerate() {
        let inputs = span * SPAN..x.len().min((span + 1) * SPAN);
        *sum = 0;
        for (code, x) in codes[inputs.clone()].iter_mut().zip(&x[inputs]) {
            let x = if is_rounded(*x) { *x } else { 0.0 };
            let rounded =
                (x * inverse + INTEGER_BITS).to_bits() as i32 - INTEGER_BITS.to_bits() as i32;
            let rounded = rounded.clamp(-127, 127);
            *code = rounded as i8;
            *sum += rounded;
        }
    }
    codes[x.len()..].fill(0);
    (absmax / 127.0, n_outliers)
}

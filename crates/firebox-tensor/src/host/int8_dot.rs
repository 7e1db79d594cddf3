//! LLM.int8(): rows in 8 bits times INT8 weights in integers, and outliers in floats.
//!
//! A panel holds the codes, four inputs of one output in the four bytes of a lane,
//! `[group, 2, LANES, 4]`; its outputs' scales lie apart. Of a row nothing depends on the others:
//! the paper's outliers are columns for a whole batch, here they are single inputs.
//!
//! Source: Dettmers et al. (2022), equation 8, <https://arxiv.org/abs/2208.07339>.

#![expect(
    unsafe_code,
    reason = "pointers in the innermost loop; threads write disjoint parts of one result"
)]

use std::ops::Range;

use super::float_tile::Out;
use super::gemm::{Product, TileTask, for_each_task, with_panel};
use super::int8_rows::{Int8Rows, SPAN, n_spans, width};
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::simd::{Kernel, Simd, dispatch};

/// Weights in panels.
#[derive(Clone, Copy)]
pub(crate) struct Int8Panels<'a> {
    /// `[panels, group, 2, LANES, 4]`, with [`Simd::BYTE_BIAS`].
    pub(crate) codes: &'a [u8],
    /// `[panels, 2 * LANES]`.
    pub(crate) scales: &'a [f32],
    pub(crate) n_in: usize,
}

/// Rows in 8 bits times such weights.
pub(crate) fn int8_matmul(
    level: SimdLevel,
    x: &Int8Rows,
    weights: Int8Panels<'_>,
    result: &Product,
) {
    for_each_task(level, result, |rows, panels| {
        let task = Int8Task {
            x,
            weights,
            rows,
            panels,
            result,
        };
        dispatch(level, task);
    });
}

struct Int8Task<'a> {
    x: &'a Int8Rows,
    weights: Int8Panels<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

impl Kernel for Int8Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let panel_bytes = width(self.weights.n_in) * 2 * S::LANES;
        for index in self.panels {
            let task = Int8PanelTask {
                x: self.x,
                n_in: self.weights.n_in,
                codes: &self.weights.codes[index * panel_bytes..][..panel_bytes],
                scales: &self.weights.scales[index * 2 * S::LANES..][..2 * S::LANES],
            };
            // SAFETY: this part of the result is this task's.
            unsafe {
                with_panel(
                    s,
                    self.result,
                    self.rows.clone(),
                    index,
                    self.result.start,
                    &task,
                );
            }
        }
    }
}

/// All rows over one panel.
struct Int8PanelTask<'a> {
    x: &'a Int8Rows,
    n_in: usize,
    codes: &'a [u8],
    scales: &'a [f32],
}

impl<S: Simd> TileTask<S> for Int8PanelTask<'_> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        let mut row = rows.start;
        while row < rows.end {
            let rest = rows.end - row;
            // SAFETY: rows of the left factor and of the result, says the caller.
            unsafe {
                let to = out.values.add((row - rows.start) * out.stride);
                let out = Out { values: to, ..out };
                row += if S::INT_ROWS >= 6 && rest >= 6 {
                    self.rows::<S, 6>(s, row, out, start)
                } else if S::INT_ROWS >= 3 && rest >= 3 {
                    self.rows::<S, 3>(s, row, out, start)
                } else if rest >= 2 {
                    self.rows::<S, 2>(s, row, out, start)
                } else {
                    self.rows::<S, 1>(s, row, out, start)
                };
            }
        }
    }
}

impl Int8PanelTask<'_> {
    /// `ROWS` rows from `row` on; returns their number.
    ///
    /// # Safety
    /// The left factor has such rows, and the result is good for them, two vectors wide.
    #[inline(always)]
    unsafe fn rows<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        row: usize,
        out: Out,
        start: Start,
    ) -> usize {
        // SAFETY: every address below is of an element that the caller, or a length, vouches for.
        unsafe {
            let products = self.products::<S, ROWS>(s, row);
            let scales = self.scales.as_ptr();
            let scales = [s.load(scales), s.load(scales.add(S::LANES))];
            for (i, products) in products.into_iter().enumerate() {
                let to = out.values.add(i * out.stride);
                for half in 0..2 {
                    let to = to.add(half * S::LANES);
                    let before = match start {
                        Start::Zero => s.splat(0.0),
                        Start::Accumulate => s.load(to),
                    };
                    s.store(to, s.fma(products[half], scales[half], before));
                }
                self.add_outliers::<S>(row + i, std::slice::from_raw_parts_mut(to, 2 * S::LANES));
            }
        }
        ROWS
    }

    /// Sums of integers times the rows' scales.
    ///
    /// # Safety
    /// The left factor has such rows.
    #[inline(always)]
    unsafe fn products<S: Simd, const ROWS: usize>(&self, s: S, row: usize) -> [[S::F; 2]; ROWS] {
        let (width, n_spans) = (width(self.n_in), n_spans(self.n_in));
        let mut products = [[s.splat(0.0); 2]; ROWS];
        // SAFETY: the panel has `width / 4` groups, the left factor rows of `width` codes.
        unsafe {
            let left = self.x.codes.as_ptr().add(row * width);
            for span in 0..n_spans {
                let mut sums = [[s.int_splat(0); 2]; ROWS];
                for (i, sums) in sums.iter_mut().enumerate() {
                    let sum = *self.x.sums.as_ptr().add((row + i) * n_spans + span);
                    *sums = [s.int_splat(-i32::from(S::BYTE_BIAS) * sum); 2];
                }
                let mut group = span * (SPAN / 4);
                let end = (width / 4).min(group + SPAN / 4);
                while group < end {
                    let codes = self.codes.as_ptr().add(group * 8 * S::LANES);
                    let codes = [s.load_bytes(codes), s.load_bytes(codes.add(4 * S::LANES))];
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let at = left.add(i * width + 4 * group);
                        let x = at.cast::<i32>().read_unaligned();
                        sums[0] = s.dot4(sums[0], codes[0], x);
                        sums[1] = s.dot4(sums[1], codes[1], x);
                    }
                    group += 1;
                }
                for (i, products) in products.iter_mut().enumerate() {
                    let scale = s.splat(*self.x.scales.as_ptr().add(row + i));
                    for half in 0..2 {
                        let sum = s.to_float(sums[i][half]);
                        products[half] = s.fma(sum, scale, products[half]);
                    }
                }
            }
        }
        products
    }

    /// What a row's outliers add to its outputs.
    #[inline(always)]
    fn add_outliers<S: Simd>(&self, row: usize, out: &mut [f32]) {
        for outlier in self.x.outliers(row) {
            let group = outlier.column / 4 * 8 * S::LANES + outlier.column % 4;
            for (lane, out) in out.iter_mut().enumerate() {
                let code = self.codes[group + 4 * lane].wrapping_sub(S::BYTE_BIAS) as i8;
                *out += outlier.value * (f32::from(code) * self.scales[lane]);
            }
        }
    }
}

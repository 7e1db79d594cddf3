//! The innermost product: a few rows times one panel, every sum in a register.

#![expect(unsafe_code, reason = "pointers in the innermost loop")]

use super::dense_panel::{Multiplied, StridedPanel};
use super::float_panel::FloatPanel;
use super::panel_matrix::Start;
use super::simd::Simd;

/// The left factor: element `(row, k)` lies at `row * row_stride + k * depth_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Left<X = f32> {
    pub(crate) values: *const X,
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
}

impl<X> Left<X> {
    /// The same from row `row` on.
    ///
    /// # Safety
    /// There is such a row.
    #[inline(always)]
    unsafe fn at_row(self, row: usize) -> Self {
        Self {
            // SAFETY: says the caller.
            values: unsafe { self.values.add(row * self.row_stride) },
            ..self
        }
    }
}

/// The result: two vectors wide, `stride` values from one row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    pub(crate) values: *mut f32,
    pub(crate) stride: usize,
}

/// The inputs that a tile runs over: `n` from `first` on in the panel, from 0 on in the left factor.
#[derive(Clone, Copy)]
pub(crate) struct Depth {
    pub(crate) first: usize,
    pub(crate) n: usize,
}

/// `n_rows` rows times one panel: each output is `(x₀w₀ + x₁w₁) + …`, one after the other, whatever
/// the number of rows, and then added to what is there, if it is to be.
///
/// # Safety
/// The left factor has `n_rows` rows of `depth.n`, the panel reaches to the depth's end, and the
/// result is good for `n_rows` rows of two vectors.
#[inline(always)]
pub(crate) unsafe fn tile_rows<S: Simd, P: FloatPanel<S>>(
    s: S,
    n_rows: usize,
    left: Left<P::Value>,
    panel: P,
    depth: Depth,
    out: Out,
    start: Start,
) {
    let mut row = 0;
    while row < n_rows {
        let rest = n_rows - row;
        // SAFETY: rows `row ..` are there, says the caller.
        unsafe {
            let left = left.at_row(row);
            let out = Out {
                values: out.values.add(row * out.stride),
                ..out
            };
            row += if S::FLOAT_ROWS >= 12 && rest >= 12 {
                tile::<S, P, 12>(s, left, panel, depth, out, start)
            } else if S::FLOAT_ROWS >= 6 && rest >= 6 {
                tile::<S, P, 6>(s, left, panel, depth, out, start)
            } else if S::FLOAT_ROWS >= 3 && rest >= 3 {
                tile::<S, P, 3>(s, left, panel, depth, out, start)
            } else if rest >= 2 {
                tile::<S, P, 2>(s, left, panel, depth, out, start)
            } else {
                tile::<S, P, 1>(s, left, panel, depth, out, start)
            };
        }
    }
}

/// Exactly `ROWS` rows; returns their number.
///
/// # Safety
/// As [`tile_rows`].
#[inline(always)]
unsafe fn tile<S: Simd, P: FloatPanel<S>, const ROWS: usize>(
    s: S,
    left: Left<P::Value>,
    panel: P,
    depth: Depth,
    out: Out,
    start: Start,
) -> usize {
    let mut sums = [[s.splat(0.0); 2]; ROWS];
    // SAFETY: every address below is of an element that the caller vouches for.
    unsafe {
        for k in 0..depth.n {
            let weights = panel.load(s, depth.first + k);
            let column = left.values.add(k * left.depth_stride);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = P::splat(s, *column.add(row * left.row_stride));
                sums[0] = P::add_product(s, x, weights[0], sums[0]);
                sums[1] = P::add_product(s, x, weights[1], sums[1]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let low = out.values.add(row * out.stride);
            let high = low.add(S::LANES);
            let sums = match start {
                Start::Zero => sums,
                Start::Accumulate => [s.add(s.load(low), sums[0]), s.add(s.load(high), sums[1])],
            };
            s.store(low, sums[0]);
            s.store(high, sums[1]);
        }
    }
    ROWS
}

/// As [`tile_rows`] over two panels side by side, four vectors wide: `depth` inputs from their first on.
///
/// # Safety
/// As [`tile_rows`], for both panels.
#[inline(always)]
pub(crate) unsafe fn wide_tile_rows<S: Simd, X: Multiplied>(
    s: S,
    n_rows: usize,
    left: Left<X>,
    panels: [StridedPanel<X>; 2],
    depth: usize,
    out: Out,
    start: Start,
) {
    let mut row = 0;
    while row < n_rows {
        let rest = n_rows - row;
        // SAFETY: rows `row ..` are there, says the caller.
        unsafe {
            let left = left.at_row(row);
            let out = Out {
                values: out.values.add(row * out.stride),
                ..out
            };
            row += if rest >= 6 {
                wide_tile::<S, X, 6>(s, left, panels, depth, out, start)
            } else if rest >= 3 {
                wide_tile::<S, X, 3>(s, left, panels, depth, out, start)
            } else {
                wide_tile::<S, X, 1>(s, left, panels, depth, out, start)
            };
        }
    }
}

/// Exactly `ROWS` rows; returns their number.
///
/// # Safety
/// As [`wide_tile_rows`].
#[inline(always)]
unsafe fn wide_tile<S: Simd, X: Multiplied, const ROWS: usize>(
    s: S,
    left: Left<X>,
    panels: [StridedPanel<X>; 2],
    depth: usize,
    out: Out,
    start: Start,
) -> usize {
    let mut sums = [[s.splat(0.0); 4]; ROWS];
    // SAFETY: every address below is of an element that the caller vouches for.
    unsafe {
        for k in 0..depth {
            let [a, b] = FloatPanel::<S>::load(panels[0], s, k);
            let [c, d] = FloatPanel::<S>::load(panels[1], s, k);
            let column = left.values.add(k * left.depth_stride);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = X::splat(s, *column.add(row * left.row_stride));
                sums[0] = X::add_product(s, x, a, sums[0]);
                sums[1] = X::add_product(s, x, b, sums[1]);
                sums[2] = X::add_product(s, x, c, sums[2]);
                sums[3] = X::add_product(s, x, d, sums[3]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let out = out.values.add(row * out.stride);
            for (i, sum) in sums.into_iter().enumerate() {
                let out = out.add(i * S::LANES);
                let sum = match start {
                    Start::Zero => sum,
                    Start::Accumulate => s.add(s.load(out), sum),
                };
                s.store(out, sum);
            }
        }
    }
    ROWS
}

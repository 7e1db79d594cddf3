//! The innermost product: a few rows times one panel, every sum in a register.

#![expect(unsafe_code, reason = "pointers in the innermost loop")]

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

/// The result: two vectors wide for each panel, `stride` values from one row to the next.
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

/// `n_rows` rows times `N` panels side by side: each output is `(x₀w₀ + x₁w₁) + …`, one after the
/// other, whatever the number of rows and panels, and then added to what is there, if it is to be.
///
/// # Safety
/// The left factor has `n_rows` rows of `depth.n`, the panels reach to the depth's end, and the
/// result is good for `n_rows` rows of two vectors a panel.
#[inline(always)]
pub(crate) unsafe fn tile_rows<S: Simd, P: FloatPanel<S>, const N: usize>(
    s: S,
    n_rows: usize,
    left: Left<P::Value>,
    panels: [P; N],
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
            // As many sums as the registers hold.
            row += if S::FLOAT_ROWS >= 12 * N && rest >= 12 {
                tile::<S, P, 12, N>(s, left, panels, depth, out, start)
            } else if S::FLOAT_ROWS >= 6 * N && rest >= 6 {
                tile::<S, P, 6, N>(s, left, panels, depth, out, start)
            } else if S::FLOAT_ROWS >= 3 * N && rest >= 3 {
                tile::<S, P, 3, N>(s, left, panels, depth, out, start)
            } else if rest >= 2 {
                tile::<S, P, 2, N>(s, left, panels, depth, out, start)
            } else {
                tile::<S, P, 1, N>(s, left, panels, depth, out, start)
            };
        }
    }
}

/// Exactly `ROWS` rows; returns their number. Its loops are over numbers: those over iterators of
/// arrays in arrays are not unrolled, the sums leave the registers, and it is several times slower.
///
/// # Safety
/// As [`tile_rows`].
#[inline(always)]
unsafe fn tile<S: Simd, P: FloatPanel<S>, const ROWS: usize, const N: usize>(
    s: S,
    left: Left<P::Value>,
    panels: [P; N],
    depth: Depth,
    out: Out,
    start: Start,
) -> usize {
    let mut low = [[s.splat(0.0); N]; ROWS];
    let mut high = low;
    // SAFETY: every address below is of an element that the caller vouches for.
    unsafe {
        for k in 0..depth.n {
            let mut weights = [panels[0].load(s, depth.first + k); N];
            for i in 1..N {
                weights[i] = panels[i].load(s, depth.first + k);
            }
            let column = left.values.add(k * left.depth_stride);
            for row in 0..ROWS {
                let x = P::splat(s, *column.add(row * left.row_stride));
                for i in 0..N {
                    low[row][i] = P::add_product(s, x, weights[i][0], low[row][i]);
                    high[row][i] = P::add_product(s, x, weights[i][1], high[row][i]);
                }
            }
        }
        for row in 0..ROWS {
            for i in 0..N {
                let out = out.values.add(row * out.stride + i * 2 * S::LANES);
                let (mut low, mut high) = (low[row][i], high[row][i]);
                if start == Start::Accumulate {
                    low = s.add(s.load(out), low);
                    high = s.add(s.load(out.add(S::LANES)), high);
                }
                s.store(out, low);
                s.store(out.add(S::LANES), high);
            }
        }
    }
    ROWS
}

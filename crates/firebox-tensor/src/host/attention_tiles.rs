//! The two products of attention, for its forward and its backward pass.

#![expect(unsafe_code, reason = "tiles take pointers")]

use super::float_tile::{Depth, Left, Out, tile_rows};
use super::kv_element::KvElement;
use super::kv_page::PAGE_TOKENS;
use super::panel_matrix::Start;
use super::simd::Simd;

/// Puts a token's vector into its place among panels of keys, `[tokens / width, head_dim, width]`.
#[inline(always)]
pub(crate) fn put_key<E: KvElement>(
    panels: &mut [E],
    width: usize,
    place: usize,
    key: impl ExactSizeIterator<Item = E>,
) {
    let len = width * key.len();
    let panel = &mut panels[place / width * len..][..len];
    for (lanes, x) in panel.chunks_exact_mut(width).zip(key) {
        lanes[place % width] = x;
    }
}

/// Puts a token's vector into its place among panels of values, `[panels, 64, width]`.
#[inline(always)]
pub(crate) fn put_value<E: KvElement>(
    panels: &mut [E],
    width: usize,
    place: usize,
    value: impl ExactSizeIterator<Item = E>,
) {
    for (i, x) in value.enumerate() {
        panels[(i / width * PAGE_TOKENS + place) * width + i % width] = x;
    }
}

/// Scores as the left factor, `[rows, 64]`.
pub(crate) fn by_rows(scores: &[f32]) -> Left {
    Left {
        values: scores.as_ptr(),
        row_stride: PAGE_TOKENS,
        depth_stride: 1,
    }
}

/// `scores = left panelsᵀ`, `[rows, 64]`, for the first `n_keys` keys of `panels`; what lies behind
/// them means nothing.
///
/// # Safety
/// `left` has `n_rows` rows of `head_dim`.
#[inline(always)]
pub(crate) unsafe fn score_page<S: Simd, E: KvElement>(
    s: S,
    n_rows: usize,
    left: Left,
    panels: &[E],
    head_dim: usize,
    n_keys: usize,
    scores: &mut [f32],
) {
    let width = 2 * S::LANES;
    debug_assert!(panels.len() >= n_keys.next_multiple_of(width) * head_dim);
    debug_assert!(scores.len() >= n_rows * PAGE_TOKENS && n_keys <= PAGE_TOKENS);
    for first in (0..n_keys).step_by(width) {
        // SAFETY: there is a panel of keys from `first` on; the scores are `[rows, 64]`; the left
        // factor's rows are there, says the caller.
        unsafe {
            let panel = E::panel::<S>(panels.as_ptr().add(first * head_dim), width);
            let out = Out {
                values: scores.as_mut_ptr().add(first),
                stride: PAGE_TOKENS,
            };
            let depth = Depth {
                first: 0,
                n: head_dim,
            };
            tile_rows(s, n_rows, left, [panel], depth, out, Start::Zero);
        }
    }
}

/// A right factor: element `(k, column)` lies at `k * row_stride` behind the start of its panel, and
/// the panel of two vectors that begins at `column` starts at `column * panel_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, E> {
    values: &'a [E],
    row_stride: usize,
    panel_stride: usize,
}

impl<'a, E> Right<'a, E> {
    /// `[depth, stride]`.
    pub(crate) fn rows(values: &'a [E], stride: usize) -> Self {
        Self {
            values,
            row_stride: stride,
            panel_stride: 1,
        }
    }

    /// `[panels, 64, width]`.
    pub(crate) fn panels(values: &'a [E], width: usize) -> Self {
        Self {
            values,
            row_stride: width,
            panel_stride: PAGE_TOKENS,
        }
    }

    /// Whether there are `depth` rows of `n_columns`, panels of `width`.
    fn reaches(&self, depth: usize, n_columns: usize, width: usize) -> bool {
        let last_panel = (n_columns - width) * self.panel_stride;
        depth == 0 || last_panel + (depth - 1) * self.row_stride + width <= self.values.len()
    }
}

/// `out += left right` for `right` of `depth` rows and `out` `[n_rows, stride]`, `stride` a multiple
/// of two vectors.
///
/// # Safety
/// `left` has `n_rows` rows of `depth`.
#[inline(always)]
pub(crate) unsafe fn add_product<S: Simd, E: KvElement>(
    s: S,
    n_rows: usize,
    left: Left,
    right: Right<'_, E>,
    depth: usize,
    out: &mut [f32],
    stride: usize,
) {
    let width = 2 * S::LANES;
    debug_assert!(right.reaches(depth, stride, width) && out.len() >= n_rows * stride);
    for column in (0..stride).step_by(width) {
        // SAFETY: `stride` is a multiple of two vectors; the rows are there.
        unsafe {
            let panel = right.values.as_ptr().add(column * right.panel_stride);
            let panel = E::panel::<S>(panel, right.row_stride);
            let out = Out {
                values: out.as_mut_ptr().add(column),
                stride,
            };
            let depth = Depth { first: 0, n: depth };
            tile_rows(s, n_rows, left, [panel], depth, out, Start::Accumulate);
        }
    }
}

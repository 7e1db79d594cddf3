//! The two products of attention, for its forward and its backward pass.

#![expect(unsafe_code, reason = "tiles take pointers")]

use super::float_panel::F32Panel;
use super::float_tile::{Depth, Left, Out, tile_rows};
use super::kv_page::PAGE_TOKENS;
use super::panel_matrix::Start;
use super::simd::Simd;

/// Puts a token's vector into its place among panels of keys, `[tokens / width, head_dim, width]`.
pub(crate) fn put_key(panels: &mut [f32], width: usize, place: usize, key: &[f32]) {
    let panel = &mut panels[place / width * width * key.len()..][..width * key.len()];
    for (lanes, x) in panel.chunks_exact_mut(width).zip(key) {
        lanes[place % width] = *x;
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
pub(crate) unsafe fn score_page<S: Simd>(
    s: S,
    n_rows: usize,
    left: Left,
    panels: &[f32],
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
            let panel = F32Panel {
                values: panels.as_ptr().add(first * head_dim),
                stride: width,
            };
            let out = Out {
                values: scores.as_mut_ptr().add(first),
                stride: PAGE_TOKENS,
            };
            let depth = Depth {
                first: 0,
                n: head_dim,
            };
            tile_rows(s, n_rows, left, panel, depth, out, Start::Zero);
        }
    }
}

/// `out += left right` for `right` `[depth, stride]` and `out` `[n_rows, stride]`, `stride` a
/// multiple of two vectors.
///
/// # Safety
/// `left` has `n_rows` rows of `depth`.
#[inline(always)]
pub(crate) unsafe fn add_product<S: Simd>(
    s: S,
    n_rows: usize,
    left: Left,
    right: &[f32],
    depth: usize,
    out: &mut [f32],
    stride: usize,
) {
    debug_assert!(right.len() >= depth * stride && out.len() >= n_rows * stride);
    for column in (0..stride).step_by(2 * S::LANES) {
        // SAFETY: `stride` is a multiple of two vectors; the rows are there.
        unsafe {
            let panel = F32Panel {
                values: right.as_ptr().add(column),
                stride,
            };
            let out = Out {
                values: out.as_mut_ptr().add(column),
                stride,
            };
            let depth = Depth { first: 0, n: depth };
            tile_rows(s, n_rows, left, panel, depth, out, Start::Accumulate);
        }
    }
}

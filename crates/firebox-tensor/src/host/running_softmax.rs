//! The softmax of attention, page by page.
//!
//! Source: Dao et al. (2022), algorithm 1, <https://arxiv.org/abs/2205.14135>.

#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use std::ops::Range;

use super::kv_page::PAGE_TOKENS;
use super::math::exp;
use super::simd::Simd;

/// A query's maximum and sum over the pages so far.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub(crate) max: f32,
    pub(crate) sum: f32,
}

impl Running {
    /// Before the first page.
    pub(crate) const START: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };
}

/// Turns the scores of a page into probabilities relative to the running maximum, and what was
/// summed before to the new one.
#[inline(always)]
pub(crate) fn soften<S: Simd>(
    s: S,
    scores: &mut [f32],
    visible: Range<usize>,
    scale: f32,
    running: &mut Running,
    sums: &mut [f32],
) {
    if visible.is_empty() {
        return scores.fill(0.0);
    }
    fill_around(scores, &visible, f32::NEG_INFINITY);
    let mut max = s.splat(f32::NEG_INFINITY);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: the scores of a row are 64, a multiple of every level's lanes.
        max = s.max(max, unsafe { s.load(scores.as_ptr().add(at)) });
    }
    let new_max = running.max.max(s.reduce_max(max) * scale);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: as above.
        unsafe {
            let score = s.load(scores.as_ptr().add(at));
            let p = exp(s, s.sub(s.mul(score, s.splat(scale)), s.splat(new_max)));
            s.store(scores.as_mut_ptr().add(at), p);
        }
    }
    // `exp` gives no zero.
    fill_around(scores, &visible, 0.0);
    let mut sum = s.splat(0.0);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: as above.
        sum = s.add(sum, unsafe { s.load(scores.as_ptr().add(at)) });
    }
    if new_max > running.max {
        let correction = s.reduce_max(exp(s, s.splat(running.max - new_max)));
        running.sum *= correction;
        for at in (0..sums.len()).step_by(S::LANES) {
            // SAFETY: the sums of a row are whole panels.
            unsafe {
                let old = s.load(sums.as_ptr().add(at));
                s.store(sums.as_mut_ptr().add(at), s.mul(old, s.splat(correction)));
            }
        }
    }
    running.max = new_max;
    running.sum += s.reduce_add(sum);
}

/// Writes `x` to all places but some.
pub(crate) fn fill_around(scores: &mut [f32], places: &Range<usize>, x: f32) {
    scores[..places.start].fill(x);
    scores[places.end..].fill(x);
}

/// Multiplies the scores of a page by one number a token.
#[inline(always)]
pub(crate) fn scale_by<S: Simd>(s: S, scores: &mut [f32], scales: &[f32]) {
    assert!(scores.len() == PAGE_TOKENS && scales.len() == PAGE_TOKENS);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: both are 64 long, a multiple of every level's lanes.
        unsafe {
            let scaled = s.mul(
                s.load(scores.as_ptr().add(at)),
                s.load(scales.as_ptr().add(at)),
            );
            s.store(scores.as_mut_ptr().add(at), scaled);
        }
    }
}

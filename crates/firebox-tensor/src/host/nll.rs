//! Softmax and negative log-likelihood of rows of logits.

use super::level::SimdLevel;
use super::math::exp;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Entries whose sum stays in vectors.
const RUN: usize = 1024;

/// Turns rows of logits into `exp(logits − max)` in place, `max` a row's largest; gives each row's
/// `log Σ exp(logits) − logits[target]` and its sum. A row is summed in vectors of f32 that are
/// added up in f64 every thousand entries.
///
/// # Shapes
/// `logits`: `[rows, vocab]`; one target a row.
///
/// # Panics
/// When the lengths do not fit, or a target is not below `vocab`.
pub fn softmax_nll(
    level: SimdLevel,
    logits: &mut [f32],
    targets: &[usize],
) -> (Vec<f32>, Vec<f32>) {
    let vocab = logits.len().checked_div(targets.len()).unwrap_or(0);
    assert_eq!(logits.len(), vocab * targets.len(), "whole rows of logits");
    assert!(
        targets.iter().all(|target| *target < vocab),
        "targets inside the vocabulary"
    );
    let (mut nll, mut sums) = (vec![0.0; targets.len()], vec![0.0; targets.len()]);
    let (all, out) = (
        SharedMut::new(logits),
        [&mut nll, &mut sums].map(|x| SharedMut::new(x)),
    );
    for_each(targets.len(), |row| {
        #[expect(unsafe_code, reason = "threads write disjoint rows")]
        // SAFETY: this row and its places, which only this task touches.
        unsafe {
            let logits = std::slice::from_raw_parts_mut(all.ptr().add(row * vocab), vocab);
            let at_target = f64::from(logits[targets[row]]);
            let (max, sum) = dispatch(level, SoftmaxRow(logits));
            let nll = sum.ln() + f64::from(max) - at_target;
            out[0].ptr().add(row).write(nll as f32);
            out[1].ptr().add(row).write(sum as f32);
        }
    });
    (nll, sums)
}

struct SoftmaxRow<'a>(&'a mut [f32]);

impl Kernel for SoftmaxRow<'_> {
    /// The row's largest logit, and the sum of the result.
    type Output = (f32, f64);

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads and stores")]
    fn run<S: Simd>(self, s: S) -> (f32, f64) {
        let logits = self.0;
        let max = logits
            .iter()
            .fold(f32::NEG_INFINITY, |max, x| if *x > max { *x } else { max });
        let mut total = 0.0_f64;
        for run in logits.chunks_mut(RUN) {
            let whole = run.len() - run.len() % S::LANES;
            let mut sum = s.splat(0.0);
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: inside the run.
                unsafe {
                    let at = run.as_mut_ptr().add(i);
                    let p = exp(s, s.sub(s.load(at), s.splat(max)));
                    s.store(at, p);
                    sum = s.add(sum, p);
                }
            }
            total += f64::from(s.reduce_add(sum));
            for x in &mut run[whole..] {
                *x = (*x - max).exp();
                total += f64::from(*x);
            }
        }
        (max, total)
    }
}

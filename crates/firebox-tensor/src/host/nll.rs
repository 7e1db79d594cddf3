//! Negative log-likelihood of rows of logits.

use super::level::SimdLevel;
use super::math::exp;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// `log Σ exp(logits) − logits[target]` for each row: the sum relative to the row's largest logit,
/// in vectors of f32 that are added up in f64 every thousand entries.
///
/// # Shapes
/// `logits`: `[rows, vocab]`; one target a row.
///
/// # Panics
/// When the lengths do not fit, or a target is not below `vocab`.
pub fn nll_of_logits(level: SimdLevel, logits: &[f32], targets: &[usize]) -> Vec<f32> {
    let vocab = logits.len().checked_div(targets.len()).unwrap_or(0);
    assert_eq!(logits.len(), vocab * targets.len(), "whole rows of logits");
    assert!(
        targets.iter().all(|target| *target < vocab),
        "targets inside the vocabulary"
    );
    let mut nll = vec![0.0; targets.len()];
    let out = SharedMut::new(&mut nll);
    for_each(targets.len(), |row| {
        let kernel = Row(&logits[row * vocab..][..vocab], targets[row]);
        #[expect(unsafe_code, reason = "threads write disjoint rows")]
        // SAFETY: this row's place, which only this task writes.
        unsafe {
            out.ptr().add(row).write(dispatch(level, kernel));
        }
    });
    nll
}

/// Entries whose sum stays in vectors.
const RUN: usize = 1024;

struct Row<'a>(&'a [f32], usize);

impl Kernel for Row<'_> {
    type Output = f32;

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads")]
    fn run<S: Simd>(self, s: S) -> f32 {
        let Self(logits, target) = self;
        let max = logits
            .iter()
            .fold(f32::NEG_INFINITY, |max, x| if *x > max { *x } else { max });
        let mut total = 0.0_f64;
        for run in logits.chunks(RUN) {
            let whole = run.len() - run.len() % S::LANES;
            let mut sum = s.splat(0.0);
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: inside the run.
                let x = unsafe { s.load(run.as_ptr().add(i)) };
                sum = s.add(sum, exp(s, s.sub(x, s.splat(max))));
            }
            total += f64::from(s.reduce_add(sum));
            for x in &run[whole..] {
                total += f64::from((x - max).exp());
            }
        }
        (total.ln() + f64::from(max) - f64::from(logits[target])) as f32
    }
}

/// Turns rows of logits into `exp(logits − max)` in place; gives each row's
/// `-log softmax(logits)[target]` and its sum.
///
/// # Panics
/// As [`nll_of_logits`].
pub fn softmax_rows(
    level: SimdLevel,
    logits: &mut [f32],
    targets: &[usize],
) -> (Vec<f32>, Vec<f32>) {
    let vocab = logits.len().checked_div(targets.len()).unwrap_or(0);
    assert_eq!(logits.len(), vocab * targets.len(), "whole rows of logits");
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
            let at_target = logits[targets[row]];
            let (max, sum) = dispatch(level, SoftmaxRow(logits));
            out[0].ptr().add(row).write(sum.ln() - (at_target - max));
            out[1].ptr().add(row).write(sum);
        }
    });
    (nll, sums)
}

struct SoftmaxRow<'a>(&'a mut [f32]);

impl Kernel for SoftmaxRow<'_> {
    /// The row's largest logit, and the sum of the result.
    type Output = (f32, f32);

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads and stores")]
    fn run<S: Simd>(self, s: S) -> (f32, f32) {
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
        (max, total as f32)
    }
}

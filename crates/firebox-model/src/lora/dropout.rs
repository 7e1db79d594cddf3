//! Dropped inputs that are the same in every repetition of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Tensor, TensorData};
use firebox_tensor::random::CounterRng;
use rayon::prelude::*;

/// Values that one task draws.
const CHUNK: usize = 1 << 14;
/// Draws of 16 bits that one number gives.
const PER_DRAW: usize = 4;

/// Inverted dropout: a share of the values becomes zero, the rest grows so that the mean stays.
///
/// A value is dropped by the run's seed, the layer, the batch's number and its place: a resumed run
/// draws what the unbroken one does, on any number of threads.
///
/// Source: Srivastava et al. (2014), <https://jmlr.org/papers/v15/srivastava14a.html>.
#[derive(Debug, Clone)]
pub(crate) struct Dropout {
    share: f64,
    seed: u64,
    layer: u64,
    /// Shared by all copies of the model.
    step: Arc<AtomicU64>,
}

impl Dropout {
    /// `None` for a share of zero.
    pub(super) fn new(share: f64, seed: u64, layer: u64) -> Option<Self> {
        (share > 0.0).then(|| Self {
            share,
            seed,
            layer,
            step: Arc::default(),
        })
    }

    pub(super) fn share(&self) -> f64 {
        self.share
    }

    pub(super) fn set_step(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
    }

    /// `[rows, in]`, with the mask of the step that was set last.
    pub(super) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let shape = x.dims();
        let mask = self.mask(shape[0] * shape[1]);
        x.clone() * Tensor::from_data(TensorData::new(mask, shape), &x.device())
    }

    /// Zero or `1 / (1 - share)` for each place.
    fn mask(&self, len: usize) -> Vec<f32> {
        // One stream a layer; a step has 2^32 of its positions.
        let rng = CounterRng::new(self.seed ^ 0x6472_6f70_6f75_7400, self.layer);
        let first = self.step.load(Ordering::Relaxed) << 32;
        let below = (self.share * 65536.0).round() as u64;
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let mut mask = vec![0.0; len];
        mask.par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, mask)| {
                for (draw, values) in mask.chunks_mut(PER_DRAW).enumerate() {
                    let mut bits = rng.u64_at(first + (chunk * CHUNK / PER_DRAW + draw) as u64);
                    for value in values {
                        *value = if bits & 0xffff < below { 0.0 } else { kept };
                        bits >>= 16;
                    }
                }
            });
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_goes_by_step_and_layer_and_keeps_the_mean() {
        let dropout = Dropout::new(0.25, 3, 1).unwrap();
        let mask = dropout.mask(40_000);
        let mean = mask.iter().sum::<f32>() / mask.len() as f32;
        assert!((mean - 1.0).abs() < 0.02, "{mean}"); // Three standard deviations are 0.009.
        assert_eq!(dropout.mask(40_000), mask);
        // The beginning of a longer one: the place decides, not the length.
        assert_eq!(dropout.mask(50_001)[..40_000], mask[..]);
        dropout.set_step(1);
        assert_ne!(dropout.mask(40_000), mask);
        assert_ne!(Dropout::new(0.25, 3, 2).unwrap().mask(40_000), mask);
        assert!(Dropout::new(0.0, 3, 1).is_none());
    }
}

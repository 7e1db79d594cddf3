//! Softmax and negative log-likelihood of rows of logits, in place.

use burn::tensor::{Int, Tensor, TensorData};

/// A softmax over rows, not yet divided, and the loss of each row.
#[derive(Debug)]
pub struct SoftmaxNll {
    /// `-log softmax(logits)[target]`, one a row.
    pub nll: Vec<f32>,
    /// `exp(logits − max)`, `[rows, vocab]`.
    pub exp: Tensor<2>,
    /// The sum of each row of `exp`, `[rows, 1]`.
    pub sum: Tensor<2>,
}

/// Turns logits into their unnormalized softmax; on the CPU and on a GPU in their own memory,
/// when nobody else holds it.
///
/// # Shapes
/// `logits` `[rows, vocab]`, outside autodiff; one target a row.
///
/// # Panics
/// When a target is not below `vocab`.
pub fn softmax_nll(logits: Tensor<2>, targets: &[usize]) -> SoftmaxNll {
    let [rows, vocab] = logits.dims();
    assert_eq!(rows, targets.len(), "one target a row");
    assert!(
        targets.iter().all(|target| *target < vocab),
        "targets inside the vocabulary"
    );
    #[cfg(feature = "cpu")]
    if super::flex_op::is_host_f32(&logits) {
        return fused::softmax_nll(logits, targets);
    }
    #[cfg(feature = "gpu")]
    if rows > 0 && vocab > 0 && crate::gpu::is_gpu_f32(&logits) {
        return crate::gpu::softmax_nll(logits, targets);
    }
    softmax_nll_reference(logits, targets)
}

/// The same by ordinary operations.
pub(crate) fn softmax_nll_reference(logits: Tensor<2>, targets: &[usize]) -> SoftmaxNll {
    let [rows, _] = logits.dims();
    let device = logits.device();
    let targets = targets
        .iter()
        .map(|target| *target as i64)
        .collect::<Vec<_>>();
    let target = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &device);
    let max = logits.clone().max_dim(1); // [rows, 1]
    let at_target = logits.clone().gather(1, target) - max.clone();
    let exp = (logits - max).exp();
    let sum = exp.clone().sum_dim(1);
    let nll = sum.clone().log() - at_target;
    SoftmaxNll {
        nll: nll.into_data().iter::<f32>().collect(),
        exp,
        sum,
    }
}

#[cfg(feature = "cpu")]
mod fused {
    use burn::backend::Flex;
    use burn::tensor::{Tensor, TensorData};

    use super::super::flex_op::host_f32;
    use super::SoftmaxNll;
    use crate::host::{self, SimdLevel};

    /// For f32 logits on the CPU.
    pub(super) fn softmax_nll(logits: Tensor<2>, targets: &[usize]) -> SoftmaxNll {
        let (rows, device) = (targets.len(), logits.device());
        let mut logits = host_f32(logits);
        let (nll, sums) = host::softmax_nll(SimdLevel::current(), logits.storage_mut(), targets);
        SoftmaxNll {
            nll,
            exp: Tensor::from_primitive::<Flex>(logits),
            sum: Tensor::from_data(TensorData::new(sums, [rows, 1]), &device),
        }
    }
}

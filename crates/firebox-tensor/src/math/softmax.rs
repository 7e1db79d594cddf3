//! Softmax and log-sum-exp, without overflow.

use burn::tensor::Tensor;

/// Probabilities in proportion to the exponentials of `logits` along `axis`.
///
/// `softmax(x)_i = exp(x_i - m) / sum_j exp(x_j - m)` with `m = max_j x_j`. Subtracting the largest
/// changes nothing, since it cancels, and keeps every exponential in `(0, 1]`.
///
/// A logit of negative infinity gets probability 0; a row of nothing else gives NaN.
///
/// # Shapes
/// `logits`: any; the result has the same.
///
/// # Panics
/// If `axis` is not below `D`.
///
/// # Examples
/// ```
/// # #[cfg(feature = "cpu")] {
/// use firebox_tensor::{DeviceChoice, burn::tensor::Tensor, math::softmax};
///
/// let device = DeviceChoice::Cpu.open().unwrap();
/// let logits = Tensor::<1>::from_floats([1000.0, 1000.0], &device);
/// assert_eq!(softmax(logits, 0).try_into_vec_as::<f32>().unwrap(), [0.5, 0.5]);
/// # }
/// ```
///
/// Source: Goodfellow, Bengio and Courville (2016), "Deep Learning", section 4.1.
pub fn softmax<const D: usize>(logits: Tensor<D>, axis: usize) -> Tensor<D> {
    let exponentials = (logits.clone() - row_max(&logits, axis)).exp();
    let sum = exponentials.clone().sum_dim(axis);
    exponentials / sum
}

/// `log(sum_j exp(x_j))` along `axis`, which stays with length 1.
///
/// `log_sum_exp(x) = m + log(sum_j exp(x_j - m))` with `m = max_j x_j`. It is what the softmax
/// divides by, as a logarithm: `log softmax(x)_i = x_i - log_sum_exp(x)`.
///
/// # Shapes
/// `logits`: any; the result has length 1 along `axis`.
///
/// # Panics
/// If `axis` is not below `D`.
///
/// Source: Goodfellow, Bengio and Courville (2016), "Deep Learning", section 4.1.
pub fn log_sum_exp<const D: usize>(logits: Tensor<D>, axis: usize) -> Tensor<D> {
    let max = row_max(&logits, axis);
    (logits - max.clone()).exp().sum_dim(axis).log() + max
}

/// The largest along `axis`, as a constant: its gradient would cancel.
fn row_max<const D: usize>(logits: &Tensor<D>, axis: usize) -> Tensor<D> {
    logits.clone().detach().max_dim(axis)
}

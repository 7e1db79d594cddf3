//! Cross-entropy of next-token prediction, forward and backward by hand.

use burn::tensor::{Bool, Int, Tensor};

use crate::math::{log_sum_exp, softmax};

/// A target with this value adds nothing to the loss: padding, and the user's turns of a chat.
pub const IGNORED_TARGET: i64 = -100;

/// Mean negative log-likelihood of the targets that are not [`IGNORED_TARGET`], in nats.
///
/// `loss = 1/n sum_i (log_sum_exp(x_i) - x_i[target_i])`, over the `n` counted rows. Zero if there
/// are none.
///
/// # Shapes
/// - `logits`: `[rows, vocab]`
/// - `targets`: `[rows]`, each in `0 .. vocab` or [`IGNORED_TARGET`]
/// - result: `[1]`
///
/// # Panics
/// If the numbers of rows differ.
///
/// # Examples
/// ```
/// # #[cfg(feature = "cpu")] {
/// use firebox_tensor::burn::tensor::{Int, Tensor};
/// use firebox_tensor::math::{IGNORED_TARGET, cross_entropy};
///
/// let device = firebox_tensor::DeviceChoice::Cpu.open().unwrap();
/// let logits = Tensor::<2>::zeros([2, 4], &device); // no idea: 4 equal chances
/// let targets = Tensor::<1, Int>::from_ints([3, IGNORED_TARGET], &device);
/// let loss: f32 = cross_entropy(logits, targets).into_scalar();
/// assert!((loss - 4_f32.ln()).abs() < 1e-6);
/// # }
/// ```
///
/// Source: Goodfellow, Bengio and Courville (2016), "Deep Learning", section 6.2.2.3.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let (targets, ignored, n_counted) = split_targets(targets); // [rows, 1] twice
    let log_normalizer = log_sum_exp(logits.clone(), 1); // [rows, 1]
    let target_logits = logits.gather(1, targets); // [rows, 1]
    let nll = (log_normalizer - target_logits).mask_fill(ignored, 0.0); // [rows, 1]
    nll.sum() / n_counted
}

/// Gradient of [`cross_entropy`] with respect to the logits.
///
/// `d loss / d x_i = (softmax(x_i) - one_hot(target_i)) / n` for a counted row, else 0: the model
/// is pushed away from what it believes and towards what was there.
///
/// # Shapes
/// As [`cross_entropy`]; the result is `[rows, vocab]`.
///
/// # Panics
/// If the numbers of rows differ.
///
/// Source: Goodfellow, Bengio and Courville (2016), "Deep Learning", section 6.2.2.3.
pub fn cross_entropy_grad(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<2> {
    let [rows, vocab] = logits.dims();
    let (targets, ignored, n_counted) = split_targets(targets); // [rows, 1] twice
    let tokens = Tensor::<1, Int>::arange(0..vocab as i64, &targets.device());
    let tokens = tokens.reshape([1, vocab]).expand([rows, vocab]); // [rows, vocab]
    let one_hot = tokens.equal(targets.expand([rows, vocab])).float(); // [rows, vocab]
    let grad = (softmax(logits, 1) - one_hot) / n_counted; // [rows, vocab]
    grad.mask_fill(ignored.expand([rows, vocab]), 0.0)
}

/// Targets that can be used as indices, which rows are ignored (`true`), and the number of the
/// others, at least 1.
///
/// # Shapes
/// `targets`: `[rows]`; results: `[rows, 1]`, `[rows, 1]`.
fn split_targets(targets: Tensor<1, Int>) -> (Tensor<2, Int>, Tensor<2, Bool>, f64) {
    let [rows] = targets.dims();
    let targets = targets.reshape([rows, 1]); // [rows, 1]
    let ignored = targets.clone().equal_elem(IGNORED_TARGET); // [rows, 1]
    let n_ignored: i64 = ignored.clone().int().sum().into_scalar();
    let n_counted = (rows as i64 - n_ignored).max(1) as f64;
    (targets.mask_fill(ignored.clone(), 0), ignored, n_counted)
}

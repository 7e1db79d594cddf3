//! The global gradient norm, and clipping by it or by value.

use crate::{gradient_measure::measure_all, gradients::ParamGradients};

/// The Euclidean norm of all gradients together, `sqrt(sum(g^2))`.
///
/// On the CPU, squares and sums are in f64 over fixed chunks, so the value does not depend on the
/// number of threads. Elsewhere each parameter is summed in its own dtype, and those sums in f64.
///
/// The gradients are unchanged; they are borrowed mutably because their buffers are read in place.
pub fn grad_norm(gradients: &mut ParamGradients) -> f64 {
    let measures = measure_all(gradients);
    let sum: f64 = measures
        .iter()
        .map(|(_, measure)| measure.sum_of_squares)
        .sum();
    sum.sqrt()
}

/// Scales all gradients by one factor so that their global norm is at most `max_norm`, and returns
/// the norm before.
///
/// `factor = min(1, max_norm / (norm + 1e-6))`, as in PyTorch. Nothing is scaled when the norm is
/// below `max_norm` or not finite.
///
/// Source: Pascanu, Mikolov and Bengio (2013), algorithm 1, <https://arxiv.org/abs/1211.5063>;
/// the 1e-6 is `torch.nn.utils.clip_grad_norm_`'s.
pub fn clip_grad_norm(gradients: &mut ParamGradients, max_norm: f64) -> f64 {
    let norm = grad_norm(gradients);
    scale_to_norm(gradients, norm, max_norm);
    norm
}

/// Scales gradients of this norm so that it is at most `max_norm`.
pub(crate) fn scale_to_norm(gradients: &mut ParamGradients, norm: f64, max_norm: f64) {
    let factor = max_norm / (norm + 1e-6);
    if norm.is_finite() && factor < 1.0 {
        gradients.scale(factor as f32);
    }
}

/// Limits every element of every gradient to `[-max_value, max_value]`. No number stays none.
pub fn clip_grad_value(gradients: &mut ParamGradients, max_value: f64) {
    gradients.update_each(|_, gradient| gradient.clamp(-max_value, max_value));
}

//! The global gradient norm, and clipping by it.

use crate::{
    gradients::ParamGradients,
    host::{CHUNK_LEN, HostElements},
};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Independent running sums of one chunk: they let the processor work on several at once, in an
/// order that the source fixes.
const N_LANES: usize = 8;

/// The Euclidean norm of all gradients together, `sqrt(sum(g^2))`.
///
/// On the CPU, squares and sums are in f64 over fixed chunks, so the value does not depend on the
/// number of threads. Elsewhere each parameter is summed in its own dtype, and those sums in f64.
///
/// The gradients are unchanged; they are borrowed mutably because their buffers are read in place.
pub fn grad_norm(gradients: &mut ParamGradients) -> f64 {
    let mut on_host = 0.0;
    let mut on_device = Vec::new();
    gradients.update_each(|gradient| match HostElements::take([gradient]) {
        Ok([elements]) => {
            on_host += sum_of_squares(elements.as_slice());
            elements.into_tensor()
        }
        Err([gradient]) => {
            on_device.push(gradient.clone().powi_scalar(2).sum()); // [1]
            gradient
        }
    });
    (on_host + sum_scalars(on_device)).sqrt()
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
    let factor = max_norm / (norm + 1e-6);
    if norm.is_finite() && factor < 1.0 {
        gradients.scale(factor as f32);
    }
    norm
}

fn sum_of_squares(elements: &[f32]) -> f64 {
    let chunk_sums: Vec<f64> = elements
        .par_chunks(CHUNK_LEN)
        .map(|chunk| {
            let mut lanes = [0f64; N_LANES];
            let (groups, rest) = chunk.as_chunks::<N_LANES>();
            for group in groups {
                for (lane, element) in lanes.iter_mut().zip(group) {
                    *lane += f64::from(*element) * f64::from(*element);
                }
            }
            for (lane, element) in lanes.iter_mut().zip(rest) {
                *lane += f64::from(*element) * f64::from(*element);
            }
            lanes.iter().sum()
        })
        .collect();
    chunk_sums.iter().sum()
}

fn sum_scalars(scalars: Vec<Tensor<1>>) -> f64 {
    if scalars.is_empty() {
        return 0.0;
    }
    Tensor::cat(scalars, 0) // [n_params], one read from the device
        .into_data()
        .iter::<f64>()
        .sum()
}

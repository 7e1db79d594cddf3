//! One step of AdamW: value and moments in one pass, in their own memory where nobody else holds it.

use burn::backend::Cube;
use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::cube::{UNITS, cubes_of_units, own, size};
use super::op::{GpuTensor, is_gpu_f32, queue};
use crate::kernels::AdamWFactors;

/// Whether these are tensors for [`adamw_step`].
pub(crate) fn takes_adamw_step(tensors: &[Tensor<1>; 4]) -> bool {
    let n = tensors[0].dims()[0];
    let fits = |x: &Tensor<1>| is_gpu_f32(x) && x.dims()[0] == n;
    n > 0 && tensors.iter().all(fits)
}

/// See [`crate::kernels::adamw_step`].
pub(crate) fn adamw_step(tensors: [Tensor<1>; 4], factors: AdamWFactors) -> [Tensor<1>; 3] {
    let n = tensors[0].dims()[0];
    let inputs = tensors.map(|x| x.try_into_primitive::<Cube>().expect("tensors on a GPU"));
    let outputs = [0, 2, 3].map(|i| (inputs[i].shape.clone(), DType::F32));
    let run = move |[value, gradient, first, second]: [CubeTensor; 4]| {
        let [value, first, second] = [value, first, second].map(own);
        adamw_kernel::launch(
            &value.client,
            cubes_of_units(&value, n),
            CubeDim::new_1d(UNITS),
            value.clone().into_buffer_arg(),
            gradient.into_buffer_arg(),
            first.clone().into_buffer_arg(),
            second.clone().into_buffer_arg(),
            size(n),
            factors.keep,
            factors.lerp_first,
            factors.beta_2,
            factors.one_minus_beta_2,
            factors.sqrt_bias_correction_2,
            factors.eps,
            factors.step_size,
        );
        [value, first, second]
    };
    let results: [GpuTensor; 3] = queue("adamw", inputs, outputs, run);
    results.map(Tensor::from_primitive::<Cube>)
}

#[cube(launch)]
fn adamw_kernel(
    value: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    n: u32,
    keep: f32,
    lerp_first: f32,
    beta_2: f32,
    one_minus_beta_2: f32,
    sqrt_bias_correction_2: f32,
    eps: f32,
    step_size: f32,
) {
    let i = ABSOLUTE_POS;
    if i < n as usize {
        let g = gradient[i];
        let m = first[i] + lerp_first * (g - first[i]);
        let v = beta_2 * second[i] + one_minus_beta_2 * (g * g);
        let denominator = v.sqrt() / sqrt_bias_correction_2 + eps;
        value[i] = value[i] * keep - step_size * m / denominator;
        first[i] = m;
        second[i] = v;
    }
}

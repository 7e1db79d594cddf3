//! The gate of the feed-forward block: one pass forward, one backward.

use burn::backend::Cube;
use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::cube::{UNITS, cubes_of_units, empty, size};
use super::op::{GpuTensor, queue};
use crate::kernels::fused_op::{FusedOp, Input, apply};

#[derive(Debug, Clone)]
struct SwiGlu;

/// `silu(gate) * up`; `None` where this is no case for the kernel.
pub(crate) fn swiglu(gate: &Tensor<3>, up: &Tensor<3>) -> Option<Tensor<3>> {
    if gate.dims() != up.dims() || gate.shape().num_elements() == 0 {
        return None;
    }
    let autodiff = gate.is_autodiff() || up.is_autodiff();
    let inputs = [Input::new(gate, autodiff), Input::new(up, autodiff)];
    apply::<_, Cube, 2, 3>(SwiGlu, inputs)
}

impl FusedOp<Cube, 2> for SwiGlu {
    type Saved = [GpuTensor; 2];

    fn forward(&self, [gate, up]: [&GpuTensor; 2], _: [bool; 2]) -> (GpuTensor, Self::Saved) {
        let saved = [gate.clone(), up.clone()];
        let outputs = [(gate.shape.clone(), DType::F32)];
        let [y] = queue("swiglu", saved.clone(), outputs, |[gate, up]| {
            let y = empty(&gate, gate.meta.shape().clone(), DType::F32);
            let n = y.meta.shape().num_elements();
            swiglu_kernel::launch(
                &y.client,
                cubes_of_units(&y, n),
                CubeDim::new_1d(UNITS),
                gate.into_buffer_arg(),
                up.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                size(n),
            );
            [y]
        });
        (y, saved)
    }

    fn backward(
        &self,
        [gate, up]: Self::Saved,
        grad: &GpuTensor,
        _: [bool; 2],
    ) -> [Option<GpuTensor>; 2] {
        let shape = gate.shape.clone();
        let inputs = [gate, up, grad.clone()];
        let outputs = [(shape.clone(), DType::F32), (shape, DType::F32)];
        let run = |[gate, up, grad]: [_; 3]| {
            let d_gate = empty(&gate, gate.meta.shape().clone(), DType::F32);
            let d_up = empty(&gate, gate.meta.shape().clone(), DType::F32);
            let n = gate.meta.shape().num_elements();
            swiglu_backward_kernel::launch(
                &d_up.client,
                cubes_of_units(&gate, n),
                CubeDim::new_1d(UNITS),
                gate.into_buffer_arg(),
                up.into_buffer_arg(),
                grad.into_buffer_arg(),
                d_gate.clone().into_buffer_arg(),
                d_up.clone().into_buffer_arg(),
                size(n),
            );
            [d_gate, d_up]
        };
        queue("swiglu_backward", inputs, outputs, run).map(Some)
    }
}

/// `1 / (1 + exp(-x))`, and that times `1 - ` itself. The exponential never overflows.
#[cube]
fn sigmoid(x: f32) -> (f32, f32) {
    let small = (-x.abs()).exp(); // at most 1
    let sum = 1.0 + small;
    let slope = small / (sum * sum);
    let value = if x >= 0.0 { 1.0 / sum } else { small / sum };
    (value, slope)
}

#[cube(launch)]
fn swiglu_kernel(gate: &[f32], up: &[f32], y: &mut [f32], n: u32) {
    let i = ABSOLUTE_POS;
    if i < n as usize {
        let (sigmoid, _slope) = sigmoid(gate[i]);
        y[i] = gate[i] * sigmoid * up[i];
    }
}

#[cube(launch)]
fn swiglu_backward_kernel(
    gate: &[f32],
    up: &[f32],
    grad: &[f32],
    d_gate: &mut [f32],
    d_up: &mut [f32],
    n: u32,
) {
    let i = ABSOLUTE_POS;
    if i < n as usize {
        let (sigmoid, slope) = sigmoid(gate[i]);
        d_gate[i] = grad[i] * up[i] * (sigmoid + gate[i] * slope);
        d_up[i] = grad[i] * gate[i] * sigmoid;
    }
}

//! Root-mean-square normalization: a cube takes a row, one pass forward, one backward.

use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::cube::{UNITS, cubes, cubes_of_units, empty, size, sum_of_cube, units_for_row};
use super::op::{GpuTensor, queue};
use crate::kernels::fused_op::{FusedOp, Input, apply};

/// Rows whose share of the gain's gradient one unit adds up.
const ROWS_OF_PART: usize = 64;

#[derive(Debug, Clone)]
struct RmsNorm {
    eps: f32,
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Saved {
    x: GpuTensor,
    gamma: GpuTensor,
    /// `1 / sqrt(mean(x²) + eps)`, `[rows]`.
    inv_rms: GpuTensor,
}

/// `x / sqrt(mean(x²) + eps) * gamma`; `None` where this is no case for the kernel.
pub(crate) fn rms_norm(x: &Tensor<3>, gamma: &Tensor<1>, eps: f32) -> Option<Tensor<3>> {
    let ([_, _, width], [gain_width]) = (x.dims(), gamma.dims());
    if width != gain_width || x.shape().num_elements() == 0 {
        return None;
    }
    let autodiff = x.is_autodiff() || gamma.is_autodiff();
    let inputs = [Input::new(x, autodiff), Input::new(gamma, autodiff)];
    apply::<_, Cube, 2, 3>(RmsNorm { eps }, inputs)
}

impl FusedOp<Cube, 2> for RmsNorm {
    type Saved = Saved;

    fn forward(&self, [x, gamma]: [&GpuTensor; 2], _: [bool; 2]) -> (GpuTensor, Saved) {
        let eps = self.eps;
        let [rows, width] = rows_and_width(&x.shape);
        let outputs = [
            (x.shape.clone(), DType::F32),
            (Shape::new([rows]), DType::F32),
        ];
        let run = move |[x, gamma]: [CubeTensor; 2]| {
            let y = empty(&x, x.meta.shape().clone(), DType::F32);
            let inv_rms = empty(&x, Shape::new([rows]), DType::F32);
            let units = units_for_row(width);
            rms_norm_kernel::launch(
                &y.client,
                cubes(&x, rows),
                CubeDim::new_1d(units),
                x.into_buffer_arg(),
                gamma.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                inv_rms.clone().into_buffer_arg(),
                size(rows),
                size(width),
                eps,
                units,
            );
            [y, inv_rms]
        };
        let [y, inv_rms] = queue("rms_norm", [x.clone(), gamma.clone()], outputs, run);
        let (x, gamma) = (x.clone(), gamma.clone());
        (y, Saved { x, gamma, inv_rms })
    }

    fn backward(
        &self,
        saved: Saved,
        grad: &GpuTensor,
        [wants_x, wants_gamma]: [bool; 2],
    ) -> [Option<GpuTensor>; 2] {
        [
            wants_x.then(|| d_x(saved.clone(), grad.clone())),
            wants_gamma.then(|| d_gamma(saved, grad.clone())),
        ]
    }
}

fn rows_and_width(shape: &Shape) -> [usize; 2] {
    let width = shape[shape.num_dims() - 1];
    [shape.num_elements() / width, width]
}

fn d_x(Saved { x, gamma, inv_rms }: Saved, grad: GpuTensor) -> GpuTensor {
    let [rows, width] = rows_and_width(&x.shape);
    let outputs = [(x.shape.clone(), DType::F32)];
    let inputs = [x, gamma, inv_rms, grad];
    let [d_x] = queue(
        "rms_norm_d_x",
        inputs,
        outputs,
        move |[x, gamma, inv_rms, grad]| {
            let d_x = empty(&x, x.meta.shape().clone(), DType::F32);
            let units = units_for_row(width);
            rms_norm_d_x_kernel::launch(
                &d_x.client,
                cubes(&x, rows),
                CubeDim::new_1d(units),
                x.into_buffer_arg(),
                gamma.into_buffer_arg(),
                inv_rms.into_buffer_arg(),
                grad.into_buffer_arg(),
                d_x.clone().into_buffer_arg(),
                size(rows),
                size(width),
                units,
            );
            [d_x]
        },
    );
    d_x
}

/// Sums over runs of rows first, then over the runs.
fn d_gamma(Saved { x, inv_rms, .. }: Saved, grad: GpuTensor) -> GpuTensor {
    let [rows, width] = rows_and_width(&x.shape);
    let n_parts = rows.div_ceil(ROWS_OF_PART);
    let outputs = [(Shape::new([n_parts, width]), DType::F32)];
    let run = move |[x, inv_rms, grad]: [CubeTensor; 3]| {
        let parts = empty(&x, Shape::new([n_parts, width]), DType::F32);
        rms_norm_d_gamma_kernel::launch(
            &parts.client,
            cubes_of_units(&x, n_parts * width),
            CubeDim::new_1d(UNITS),
            x.into_buffer_arg(),
            inv_rms.into_buffer_arg(),
            grad.into_buffer_arg(),
            parts.clone().into_buffer_arg(),
            size(rows),
            size(width),
            size(ROWS_OF_PART),
        );
        [parts]
    };
    let [parts] = queue("rms_norm_d_gamma", [x, inv_rms, grad], outputs, run);
    let sum = Cube::float_sum_dim(parts, 0);
    Cube::float_reshape(sum, Shape::new([width]))
}

#[cube(launch)]
fn rms_norm_kernel(
    x: &[f32],
    gamma: &[f32],
    y: &mut [f32],
    inv_rms: &mut [f32],
    rows: u32,
    width: u32,
    eps: f32,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    if row >= rows as usize {
        terminate!();
    }
    let width = width as usize;
    let start = row * width;
    let unit = UNIT_POS as usize;
    let mut squares = 0.0f32;
    let mut i = unit;
    while i < width {
        let value = x[start + i];
        squares += value * value;
        i += units as usize;
    }
    let sum = sum_of_cube(squares, units);
    let inv = 1.0 / (sum / width as f32 + eps).sqrt();
    let mut i = unit;
    while i < width {
        y[start + i] = x[start + i] * inv * gamma[i];
        i += units as usize;
    }
    if unit == 0 {
        inv_rms[row] = inv;
    }
}

/// With `r` the inverse root: `d_x = r (g γ) - x r³ / width · Σ x g γ`.
#[cube(launch)]
fn rms_norm_d_x_kernel(
    x: &[f32],
    gamma: &[f32],
    inv_rms: &[f32],
    grad: &[f32],
    d_x: &mut [f32],
    rows: u32,
    width: u32,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    if row >= rows as usize {
        terminate!();
    }
    let width = width as usize;
    let start = row * width;
    let unit = UNIT_POS as usize;
    let mut products = 0.0f32;
    let mut i = unit;
    while i < width {
        products += x[start + i] * grad[start + i] * gamma[i];
        i += units as usize;
    }
    let sum = sum_of_cube(products, units);
    let inv = inv_rms[row];
    let pull = inv * inv * inv * sum / width as f32;
    let mut i = unit;
    while i < width {
        d_x[start + i] = inv * grad[start + i] * gamma[i] - pull * x[start + i];
        i += units as usize;
    }
}

/// A unit adds up one column of `rows_of_part` rows.
#[cube(launch)]
fn rms_norm_d_gamma_kernel(
    x: &[f32],
    inv_rms: &[f32],
    grad: &[f32],
    parts: &mut [f32],
    rows: u32,
    width: u32,
    rows_of_part: u32,
) {
    let (rows, width) = (rows as usize, width as usize);
    let column = ABSOLUTE_POS % width;
    let first = ABSOLUTE_POS / width * rows_of_part as usize;
    if first >= rows {
        terminate!();
    }
    let last = (first + rows_of_part as usize).min(rows);
    let mut sum = 0.0f32;
    let mut row = first;
    while row < last {
        let i = row * width + column;
        sum += grad[i] * x[i] * inv_rms[row];
        row += 1;
    }
    parts[ABSOLUTE_POS] = sum;
}

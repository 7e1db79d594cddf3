//! Rotary position embeddings of whole sequences.

use burn::backend::Cube;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::cube::{UNITS, cubes_of_units, empty, size};
use super::op::{GpuTensor, queue};
use crate::host::RotaryTable;

/// Cosines and sines on a device, `[2, positions, head_dim / 2]`.
#[derive(Debug, Clone)]
pub(super) struct GpuRotary {
    table: GpuTensor,
}

impl GpuRotary {
    /// The table as it lies on `device`; moved there once. `None` when that is no GPU.
    pub(super) fn new(table: &RotaryTable, device: &Device) -> Option<Self> {
        let upload = || {
            let (cos, sin) = (table.cos(), table.sin());
            let values = TensorData::new([cos, sin].concat(), [2 * cos.len()]);
            Tensor::<1>::from_data(values, (device, DType::F32))
        };
        let kept = table.on_gpu().get_or_init(|| Box::new(upload()));
        let tensor = if kept.device() == *device {
            Tensor::clone(kept)
        } else {
            upload()
        };
        let table = tensor.try_into_primitive::<Cube>().ok()?;
        Some(Self { table })
    }
}

/// Which way pairs are turned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Turn {
    Forth,
    /// The inverse, and the gradient.
    Back,
}

/// Turns the pairs `(x[i], x[i + head_dim / 2])` of every head by the angle of the row's position.
///
/// # Shapes
/// `x` `[batch, seq, n_heads * head_dim]`.
pub(super) fn rotate(x: GpuTensor, rotary: &GpuRotary, head_dim: usize, turn: Turn) -> GpuTensor {
    let seq = x.shape[1];
    let n_pairs = x.shape.num_elements() / 2;
    let pairs_of_row = x.shape[2] / 2;
    let outputs = [(x.shape.clone(), DType::F32)];
    let sign = if turn == Turn::Back { -1.0 } else { 1.0 };
    let [y] = queue(
        "rotate",
        [x, rotary.table.clone()],
        outputs,
        move |[x, table]| {
            let y = empty(&x, x.meta.shape().clone(), DType::F32);
            rotate_kernel::launch(
                &y.client,
                cubes_of_units(&x, n_pairs),
                CubeDim::new_1d(UNITS),
                x.into_buffer_arg(),
                table.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                size(n_pairs),
                size(pairs_of_row),
                size(seq),
                sign,
                size(head_dim / 2),
            );
            [y]
        },
    );
    y
}

/// A unit turns one pair.
#[cube(launch)]
fn rotate_kernel(
    x: &[f32],
    table: &[f32],
    y: &mut [f32],
    n_pairs: u32,
    pairs_of_row: u32,
    seq: u32,
    sign: f32,
    #[comptime] half: u32,
) {
    if ABSOLUTE_POS >= n_pairs as usize {
        terminate!();
    }
    let half = half as usize;
    let row = ABSOLUTE_POS / pairs_of_row as usize;
    let pair = ABSOLUTE_POS % half;
    let first = ABSOLUTE_POS / half * 2 * half + pair;
    let at = row % seq as usize * half + pair;
    let cos = table[at];
    let sin = sign * table[table.len() / 2 + at];
    let (a, b) = (x[first], x[first + half]);
    y[first] = a * cos - b * sin;
    y[first + half] = b * cos + a * sin;
}

//! `y = x Wᵀ` over a packed weight, which is unpacked inside the product and never held otherwise.
//!
//! A few rows, as in decoding: a cube an output. Many rows, and the gradient of the rows: tiles of
//! 64 by 64, of which a unit has 4 by 4.

use burn::backend::Cube;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::cube::{UNITS, cubes, empty, size, sum_of_cube, units_for_row};
use super::op::{GpuTensor, queue};
use super::packed::{Codes, GpuPacked};
use crate::kernels::fused_op::{FusedOp, Input, apply};

/// More rows than this go through tiles.
const FEW_ROWS: usize = 4;
/// Rows and columns of a tile.
const TILE: usize = 64;
/// Products of an output that a tile is loaded for at a time.
const DEPTH: usize = 16;

#[derive(Debug, Clone)]
struct PackedLinear {
    weight: GpuPacked,
}

/// `[rows, in]` to `[rows, out]`; `None` where this is no case for the kernels.
pub(crate) fn packed_linear(x: &Tensor<2>, weight: &GpuPacked) -> Option<Tensor<2>> {
    let [rows, n_in] = x.dims();
    if rows == 0 || n_in != weight.n_in {
        return None;
    }
    let weight = weight.clone();
    apply::<_, Cube, 1, 2>(PackedLinear { weight }, [Input::new(x, x.is_autodiff())])
}

impl FusedOp<Cube, 1> for PackedLinear {
    type Saved = ();

    fn forward(&self, [x]: [&GpuTensor; 1], _: [bool; 1]) -> (GpuTensor, ()) {
        let y = if x.shape[0] <= FEW_ROWS {
            few_rows(x.clone(), &self.weight)
        } else {
            tiles(x.clone(), &self.weight, Side::Forward)
        };
        (y, ())
    }

    fn backward(&self, (): (), grad: &GpuTensor, _: [bool; 1]) -> [Option<GpuTensor>; 1] {
        [Some(tiles(grad.clone(), &self.weight, Side::Backward))]
    }
}

/// Which side of the weight the rows are multiplied with, known when a kernel is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    /// `x Wᵀ`.
    Forward,
    /// `x W`.
    Backward,
}

fn few_rows(x: GpuTensor, weight: &GpuPacked) -> GpuTensor {
    let (rows, n_in, n_out) = (x.shape[0], weight.n_in, weight.n_out);
    let (codes, block) = (weight.codes, weight.block);
    let outputs = [(Shape::new([rows, n_out]), DType::F32)];
    let run = move |[x, words, scales, codebook]: [CubeTensor; 4]| {
        let y = empty(&x, Shape::new([rows, n_out]), DType::F32);
        let units = units_for_row(n_in);
        few_rows_kernel::launch(
            &y.client,
            cubes(&x, n_out),
            CubeDim::new_1d(units),
            x.into_buffer_arg(),
            words.into_buffer_arg(),
            scales.into_buffer_arg(),
            codebook.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            size(n_in),
            size(n_out),
            size(block),
            codes,
            rows,
            units,
        );
        [y]
    };
    let [y] = queue("packed_linear", inputs(x, weight), outputs, run);
    y
}

fn tiles(x: GpuTensor, weight: &GpuPacked, side: Side) -> GpuTensor {
    let (rows, n_in) = (x.shape[0], weight.n_in);
    let (codes, block) = (weight.codes, weight.block);
    let (depth, width) = match side {
        Side::Forward => (weight.n_in, weight.n_out),
        Side::Backward => (weight.n_out, weight.n_in),
    };
    size(weight.n_in * weight.n_out); // elements are numbered
    let outputs = [(Shape::new([rows, width]), DType::F32)];
    let run = move |[x, words, scales, codebook]: [CubeTensor; 4]| {
        let y = empty(&x, Shape::new([rows, width]), DType::F32);
        tiles_kernel::launch(
            &y.client,
            cubes(&x, rows.div_ceil(TILE) * width.div_ceil(TILE)),
            CubeDim::new_1d(UNITS),
            x.into_buffer_arg(),
            words.into_buffer_arg(),
            scales.into_buffer_arg(),
            codebook.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            size(rows),
            size(depth),
            size(width),
            size(n_in),
            size(block),
            codes,
            side,
        );
        [y]
    };
    let [y] = queue("packed_linear_tiles", inputs(x, weight), outputs, run);
    y
}

fn inputs(x: GpuTensor, weight: &GpuPacked) -> [GpuTensor; 4] {
    let GpuPacked {
        words,
        scales,
        codebook,
        ..
    } = weight;
    [x, words.clone(), scales.clone(), codebook.clone()]
}

/// Element `e` of a flattened weight.
#[cube]
fn unpack(
    words: &[u32],
    scales: &[f32],
    codebook: &[f32],
    e: usize,
    block: usize,
    #[comptime] codes: Codes,
) -> f32 {
    let value = if comptime!(codes == Codes::Nibbles) {
        let code = (words[e / 8] >> (e as u32 % 8 * 4)) & 15;
        codebook[code as usize]
    } else {
        let code = (words[e / 4] >> (e as u32 % 4 * 8)) & 255;
        // The sign bit counts -128 instead of 128.
        f32::cast_from(code) - f32::cast_from((code >> 7) * 256)
    };
    value * scales[e / block]
}

/// A cube has one output of all rows, and its units every so many of the products.
#[cube(launch)]
fn few_rows_kernel(
    x: &[f32],
    words: &[u32],
    scales: &[f32],
    codebook: &[f32],
    y: &mut [f32],
    n_in: u32,
    n_out: u32,
    block: u32,
    #[comptime] codes: Codes,
    #[comptime] rows: usize,
    #[comptime] units: u32,
) {
    let (output, n_in, n_out) = (CUBE_POS, n_in as usize, n_out as usize);
    if output >= n_out {
        terminate!();
    }
    let mut sums = Array::<f32>::new(rows);
    for row in 0..rows {
        sums[row] = 0.0;
    }
    let mut i = UNIT_POS as usize;
    while i < n_in {
        let e = output * n_in + i;
        let weight = unpack(words, scales, codebook, e, block as usize, codes);
        for row in 0..rows {
            sums[row] += x[row * n_in + i] * weight;
        }
        i += units as usize;
    }
    #[unroll]
    for row in 0..rows {
        let sum = sum_of_cube(sums[row], units);
        if UNIT_POS == 0 {
            y[row * n_out + output] = sum;
        }
    }
}

/// Unit `(r, c)` has rows `r, r + 16 ..` and columns `c, c + 16 ..` of a tile.
#[cube(launch)]
fn tiles_kernel(
    x: &[f32],
    words: &[u32],
    scales: &[f32],
    codebook: &[f32],
    y: &mut [f32],
    rows: u32,
    depth: u32,
    width: u32,
    n_in: u32,
    block: u32,
    #[comptime] codes: Codes,
    #[comptime] side: Side,
) {
    let (rows, depth, width) = (rows as usize, depth as usize, width as usize);
    let n_across = width.div_ceil(TILE);
    let first_row = CUBE_POS / n_across * TILE;
    let first_column = CUBE_POS % n_across * TILE;
    if first_row >= rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let (r, c) = (unit / 16, unit % 16);
    let mut x_tile = Shared::<[f32]>::new_slice(comptime!(TILE * (DEPTH + 1)));
    let mut w_tile = Shared::<[f32]>::new_slice(comptime!(TILE * (DEPTH + 1)));
    let mut sums = Array::<f32>::new(16usize);
    for i in 0..16usize {
        sums[i] = 0.0;
    }
    let mut first = 0usize;
    while first < depth {
        sync_cube(); // the last round's tiles are read
        for i in 0..4usize {
            // Neighbouring units read neighbouring values.
            let (row, k) = (r + i * 16, first + c);
            let mut value = 0.0f32;
            if first_row + row < rows && k < depth {
                value = x[(first_row + row) * depth + k];
            }
            x_tile[row * (DEPTH + 1) + c] = value;
            let column = if comptime!(side == Side::Forward) {
                r + i * 16
            } else {
                unit % TILE
            };
            let inner = if comptime!(side == Side::Forward) {
                c
            } else {
                unit / TILE + i * 4
            };
            let k = first + inner;
            let mut weight = 0.0f32;
            if first_column + column < width && k < depth {
                let e = if comptime!(side == Side::Forward) {
                    (first_column + column) * n_in as usize + k
                } else {
                    k * n_in as usize + first_column + column
                };
                weight = unpack(words, scales, codebook, e, block as usize, codes);
            }
            w_tile[column * (DEPTH + 1) + inner] = weight;
        }
        sync_cube();
        for k in 0..DEPTH {
            for i in 0..16usize {
                let a = x_tile[(r + i / 4 * 16) * (DEPTH + 1) + k];
                sums[i] += a * w_tile[(c + i % 4 * 16) * (DEPTH + 1) + k];
            }
        }
        first += DEPTH;
    }
    for i in 0..16usize {
        let row = first_row + r + i / 4 * 16;
        let column = first_column + c + i % 4 * 16;
        if row < rows && column < width {
            y[row * width + column] = sums[i];
        }
    }
}

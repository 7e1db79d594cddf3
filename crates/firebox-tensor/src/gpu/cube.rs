//! What the kernels share: buffers, numbers of cubes, sums over a cube.
//!
//! A *unit* is CubeCL's word for a thread, a *cube* for a workgroup.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

/// Units of a cube, for kernels that have no reason for another number. Every device has 256.
pub(super) const UNITS: u32 = 256;

/// A new buffer beside `like`, with anything in it.
pub(super) fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    let buffer = like.client.empty(shape.num_elements() * dtype.size());
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, shape, buffer, dtype)
}

/// A buffer that may be written: the same where nobody else holds it, else a copy.
pub(super) fn own(x: CubeTensor) -> CubeTensor {
    if x.can_mut() { x } else { x.copy() }
}

/// At least `n` cubes, in as many dimensions as that takes: kernels compare `CUBE_POS` with `n`.
pub(super) fn cubes(like: &CubeTensor, n: usize) -> CubeCount {
    cubecl::calculate_cube_count_elemwise(&like.client, n, CubeDim::new_1d(1))
}

/// Cubes of [`UNITS`] for at least `n` units: kernels compare `ABSOLUTE_POS` with `n`.
pub(super) fn cubes_of_units(like: &CubeTensor, n: usize) -> CubeCount {
    cubecl::calculate_cube_count_elemwise(&like.client, n, CubeDim::new_1d(UNITS))
}

/// Units for a row of `width` values: a power of two, about four values a unit.
pub(super) fn units_for_row(width: usize) -> u32 {
    let wanted = width.div_ceil(4).next_power_of_two();
    wanted.clamp(32, UNITS as usize) as u32
}

/// A size as a kernel takes it.
///
/// # Panics
/// From 2^32 on.
pub(super) fn size(n: usize) -> u32 {
    u32::try_from(n).expect("sizes below 2^32 on a GPU")
}

/// The sum of every unit's `value`, for all units: a tree, so always in one order. `units` is the
/// size of the cube, a power of two.
#[cube]
pub(super) fn sum_of_cube(value: f32, #[comptime] units: u32) -> f32 {
    let mut sums = Shared::<[f32]>::new_slice(units as usize);
    let unit = UNIT_POS as usize;
    sums[unit] = value;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            let other = sums[unit + half];
            sums[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    sums[0]
}

/// The same for the largest value.
#[cube]
pub(super) fn max_of_cube(value: f32, #[comptime] units: u32) -> f32 {
    let mut maxima = Shared::<[f32]>::new_slice(units as usize);
    let unit = UNIT_POS as usize;
    maxima[unit] = value;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            maxima[unit] = maxima[unit].max(maxima[unit + half]);
        }
        sync_cube();
        half /= 2;
    }
    maxima[0]
}

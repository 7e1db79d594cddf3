//! Half-quadratic rounding: the minimum of a block such that many small errors count more than a few
//! large ones.

use half::f16;

use crate::packed::{
    BlockGrid, PackedFormat,
    block_rounding::integer,
    grid::{Scales, finite_f16},
    q8_0::inverse_scale,
};

/// The exponent of the norm: below 1, large errors are outliers, not to be chased.
const NORM: f32 = 0.7;
/// How firmly outliers are told from errors, at first, and its growth.
const BETA: (f32, f32) = (10.0, 1.01);
const N_STEPS: usize = 20;

impl PackedFormat {
    /// Whether a block has a minimum that is any number of 16 bits.
    pub fn has_real_minimum(self) -> bool {
        matches!(self, Self::Q4_1 | Self::Q5_1)
    }
}

impl BlockGrid {
    /// The scale that spans a block, and the minimum of least `Σ |error|^0.7`; it is found by turns: what
    /// the largest errors exceed is taken out (soft thresholding), and the minimum is the mean of what is
    /// left. Errors are counted in steps of the scale, so that a weight's size does not matter.
    ///
    /// Source: Badri and Shaji (2023), half-quadratic quantization,
    /// <https://mobiusml.github.io/hqq_blog/>; there with errors as they are.
    ///
    /// # Panics
    /// If the format has no real minimum, or the values are not those of one block.
    pub fn fit_half_quadratic(format: PackedFormat, values: &[f32]) -> Self {
        assert_eq!(
            format.block_len(values.len()),
            Some(values.len()),
            "values of one block of {format}"
        );
        let scales = match format {
            PackedFormat::Q4_1 => {
                let (d, minimum) = fit(values, 15.0);
                Scales::Q4_1 { d, minimum }
            }
            PackedFormat::Q5_1 => {
                let (d, minimum) = fit(values, 31.0);
                Scales::Q5_1 { d, minimum }
            }
            _ => panic!("{format} has no real minimum"),
        };
        Self { scales }
    }
}

fn fit(values: &[f32], max_code: f32) -> (f16, f16) {
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = finite_f16((max - min) / max_code);
    let inverse = inverse_scale(d.to_f32());
    if inverse == 0.0 {
        return (f16::ZERO, finite_f16(min));
    }
    let code = |x: f32, zero: f32| integer(x * inverse + zero, 0.0, max_code);
    let mut zero = -min * inverse;
    let mut best = (f32::INFINITY, zero);
    let mut beta = BETA.0;
    for _ in 0..N_STEPS {
        let (mut norm, mut sum) = (0.0, 0.0);
        for x in values {
            let code = code(*x, zero);
            let error = x * inverse - (code - zero);
            norm += error.abs().powf(NORM);
            sum += code - (x * inverse - without_noise(error, beta));
        }
        if norm < best.0 {
            best = (norm, zero);
        }
        zero = sum / values.len() as f32;
        beta *= BETA.1;
    }
    (d, finite_f16(-best.1 * d.to_f32()))
}

/// The part of an error that is an outlier.
fn without_noise(error: f32, beta: f32) -> f32 {
    if error == 0.0 {
        return 0.0;
    }
    let size = error.abs();
    (size - size.powf(NORM - 1.0) / beta)
        .max(0.0)
        .copysign(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::GGML_BLOCK_SIZE;

    /// `Σ |error|^0.7` of a block on a grid.
    fn norm(grid: &BlockGrid, values: &[f32]) -> f32 {
        let error = |(i, x): (usize, &f32)| (grid.nearest(i, *x).1 - x).abs().powf(NORM);
        values.iter().enumerate().map(error).sum()
    }

    fn plain(format: PackedFormat, values: &[f32], max_code: f32) -> BlockGrid {
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (d, minimum) = (finite_f16((max - min) / max_code), finite_f16(min));
        let scales = match format {
            PackedFormat::Q4_1 => Scales::Q4_1 { d, minimum },
            _ => Scales::Q5_1 { d, minimum },
        };
        BlockGrid { scales }
    }

    #[test]
    fn the_norm_is_less_than_with_the_least_value_as_minimum() {
        for (format, max_code) in [(PackedFormat::Q4_1, 15.0), (PackedFormat::Q5_1, 31.0)] {
            let (mut before, mut after) = (0.0, 0.0);
            for seed in 0..50 {
                let value = |i: usize| {
                    let x = ((i * 37 + seed * 101) as f32 * 12.9898).sin();
                    x * x * x * 0.04
                };
                let values: Vec<f32> = (0..GGML_BLOCK_SIZE).map(value).collect();
                before += norm(&plain(format, &values, max_code), &values);
                after += norm(&BlockGrid::fit_half_quadratic(format, &values), &values);
            }
            assert!(after < 0.99 * before, "{format}: {after} and {before}");
        }
    }

    #[test]
    fn blocks_of_one_value_stay_what_they_are() {
        for value in [0.0, -1.5, 0.25] {
            let grid = BlockGrid::fit_half_quadratic(PackedFormat::Q4_1, &[value; 32]);
            assert_eq!(grid.nearest(3, value).1, value);
        }
    }

    #[test]
    fn larger_weights_have_the_same_codes() {
        let values: Vec<f32> = (0..32).map(|i| (i as f32 * 1.7).sin()).collect();
        let large: Vec<f32> = values.iter().map(|x| x * 1024.0).collect();
        let codes = |values: &[f32]| -> Vec<u8> {
            let grid = BlockGrid::fit_half_quadratic(PackedFormat::Q5_1, values);
            let code = |(i, x): (usize, &f32)| grid.nearest(i, *x).0;
            values.iter().enumerate().map(code).collect()
        };
        assert_eq!(codes(&values), codes(&large));
    }
}

//! A block of a row taken apart: first its scales, then one code after the other.
//!
//! Packing chooses scales and codes of a block at once. Methods that spread the error of one value
//! over those that follow (GPTQ), or that know how much each value counts (an importance matrix),
//! choose them apart: a [`BlockGrid`] has the scales, and says what a value becomes on them.

use half::f16;

use crate::packed::{
    GGML_BLOCK_SIZE, NF4_BLOCK_SIZE, PackedFormat,
    block_rounding::{absmax, integer, moments},
    codebook4::Codebook4,
    ggml::Family,
    int4, int8,
    k_search::{self, Minimum, best_line, code_on},
    k_super_block::Groups,
    q6_k,
    q8_0::inverse_scale,
};

/// The scales of one block of a row, which say what values the block can hold.
///
/// # Examples
/// ```
/// use firebox_tensor::packed::{BlockGrid, PackedFormat};
///
/// let values: Vec<f32> = (0..32).map(|i| (i as f32).sin()).collect();
/// let grid = BlockGrid::fit(PackedFormat::Q4_0, &values, &[1.0; 32]);
/// let (code, value) = grid.nearest(3, values[3]);
/// assert!(code < 16 && (value - values[3]).abs() < 0.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockGrid {
    pub(super) scales: Scales,
}

/// By kind of block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scales {
    Codebook4 { book: Codebook4, absmax: f32 },
    Int8 { absmax: f32 },
    Q8_0 { d: f16 },
    Q4_0 { d: f16 },
    Q4_1 { d: f16, minimum: f16 },
    Q4K(Groups),
    Q5_0 { d: f16 },
    Q5_1 { d: f16, minimum: f16 },
    Q5K(Groups),
    Q6K(q6_k::Scales),
    Int4(int4::Group),
}

impl PackedFormat {
    /// Values of a row that share their scales: a block, or the whole row. `None` where blocks reach
    /// over the end of a row of `n_cols`.
    pub fn block_len(self, n_cols: usize) -> Option<usize> {
        let block_len = match self.family() {
            Family::Codebook4(_) | Family::Codebook4DoubleQuant(_) => NF4_BLOCK_SIZE,
            Family::Int8 => n_cols.max(1),
            Family::Ggml(_) | Family::Int4(_) => self.row_multiple(),
        };
        n_cols.is_multiple_of(block_len).then_some(block_len)
    }
}

impl BlockGrid {
    /// The scales of least squared error, in which each value counts as much as `importance` says;
    /// found by trying several, each with the codes that go with it.
    ///
    /// # Panics
    /// If the values are not those of one block, or there is not one importance for each.
    pub fn fit(format: PackedFormat, values: &[f32], importance: &[f32]) -> Self {
        assert_eq!(
            values.len(),
            importance.len(),
            "one importance for each value"
        );
        let block_len = format.block_len(values.len());
        assert_eq!(
            block_len,
            Some(values.len()),
            "values of one block of {format}"
        );
        let scales = match format {
            PackedFormat::Nf4 | PackedFormat::Nf4DoubleQuant => {
                fit_codebook(Codebook4::Nf4, values, importance)
            }
            PackedFormat::Fp4 | PackedFormat::Fp4DoubleQuant => {
                fit_codebook(Codebook4::Fp4, values, importance)
            }
            PackedFormat::Int8Rowwise => Scales::Int8 {
                absmax: absmax(values),
            },
            PackedFormat::Q8_0 => {
                let candidates = [1.0 / 127.0];
                let d = fit_scale(values, importance, &candidates, |x| {
                    integer(x, -127.0, 127.0)
                });
                Scales::Q8_0 { d: finite_f16(d) }
            }
            PackedFormat::Q4_0 => {
                let d = fit_scale(values, importance, &Q4_0_CANDIDATES, |x| {
                    integer(x, -8.0, 7.0)
                });
                Scales::Q4_0 { d: finite_f16(d) }
            }
            PackedFormat::Q5_0 => {
                let level = |x: f32| integer(x, -16.0, 15.0);
                let d = fit_scale(values, importance, &Q5_0_CANDIDATES, level);
                Scales::Q5_0 { d: finite_f16(d) }
            }
            PackedFormat::Q4_1 => {
                let (d, minimum) = fit_line(values, importance, 15.0);
                Scales::Q4_1 { d, minimum }
            }
            PackedFormat::Q5_1 => {
                let (d, minimum) = fit_line(values, importance, 31.0);
                Scales::Q5_1 { d, minimum }
            }
            PackedFormat::Q4K => Scales::Q4K(fit_groups(values, importance, 15.0)),
            PackedFormat::Q5K => Scales::Q5K(fit_groups(values, importance, 31.0)),
            PackedFormat::Q6K => Scales::Q6K(q6_k::Scales::fit(values, importance)),
            PackedFormat::Int4(groups) => {
                Scales::Int4(int4::Group::fit(groups, values, importance))
            }
        };
        Self { scales }
    }

    /// The nearest value that element `i` of the block can hold, and its code: an index into the
    /// codebook, or an integer; one with a sign as a byte in two's complement.
    pub fn nearest(&self, i: usize, x: f32) -> (u8, f32) {
        match &self.scales {
            Scales::Codebook4 { book, absmax } => book.nearest(x, *absmax),
            Scales::Int8 { absmax } => {
                let code = integer(int8::in_steps(x, *absmax), -127.0, 127.0) as i8;
                let mut value = [0.0];
                int8::unpack(&[code as u8], *absmax, &mut value);
                (code as u8, value[0])
            }
            Scales::Q8_0 { d } => {
                let (level, value) = on_scale(d.to_f32(), x, -127.0, 127.0);
                (level as i8 as u8, value)
            }
            Scales::Q4_0 { d } => {
                let (level, value) = on_scale(d.to_f32(), x, -8.0, 7.0);
                ((level + 8.0) as u8, value)
            }
            Scales::Q5_0 { d } => {
                let (level, value) = on_scale(d.to_f32(), x, -16.0, 15.0);
                ((level + 16.0) as u8, value)
            }
            Scales::Q4_1 { d, minimum } => on_line((d.to_f32(), -minimum.to_f32()), x, 15.0),
            Scales::Q5_1 { d, minimum } => on_line((d.to_f32(), -minimum.to_f32()), x, 31.0),
            Scales::Q4K(groups) => on_line(groups.line(i / GGML_BLOCK_SIZE), x, 15.0),
            Scales::Q5K(groups) => on_line(groups.line(i / GGML_BLOCK_SIZE), x, 31.0),
            Scales::Q6K(scales) => scales.nearest(i, x),
            Scales::Int4(group) => {
                let code = group.code(x);
                (code, group.value(code))
            }
        }
    }
}

/// Scales to try for a codebook, as parts of the largest magnitude: its own, and those that cut it off.
const CODEBOOK_CANDIDATES: [f32; 11] = [
    1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.76, 0.73, 0.7,
];

/// Scales to try for codes from -8 to 7, of either sign, as parts of the largest magnitude.
const Q4_0_CANDIDATES: [f32; 34] = of_both_signs(6.8, 0.2);

/// The same for codes from -16 to 15.
const Q5_0_CANDIDATES: [f32; 34] = of_both_signs(14.8, 0.2);

/// `1 / (first + i step)` and its negative.
pub(super) const fn of_both_signs<const N: usize>(first: f32, step: f32) -> [f32; N] {
    let mut candidates = [0.0; N];
    let mut i = 0;
    while i < N / 2 {
        candidates[2 * i] = 1.0 / (first + step * i as f32);
        candidates[2 * i + 1] = -candidates[2 * i];
        i += 1;
    }
    candidates
}

/// Inlined, so that each codebook has its own constants in the loops.
#[inline(always)]
fn fit_codebook(book: Codebook4, values: &[f32], importance: &[f32]) -> Scales {
    let level = |x| book.nearest_level(x);
    let absmax = fit_scale(values, importance, &CODEBOOK_CANDIDATES, level);
    Scales::Codebook4 { book, absmax }
}

/// Scale and minimum of a block of 32.
fn fit_line(values: &[f32], importance: &[f32], max_code: f32) -> (f16, f16) {
    let block = |x: &[f32]| <[f32; GGML_BLOCK_SIZE]>::try_from(x).expect("32 values");
    let line = best_line(&block(values), &block(importance), max_code, Minimum::Any);
    (finite_f16(line.scale), finite_f16(-line.minimum))
}

fn fit_groups(values: &[f32], importance: &[f32], max_code: f32) -> Groups {
    let (groups, _) = values.as_chunks::<GGML_BLOCK_SIZE>();
    let (importance, _) = importance.as_chunks::<GGML_BLOCK_SIZE>();
    k_search::head(groups, max_code, |g| importance[g])
}

/// The nearest whole multiple of a scale from `min` to `max`: which, and its value.
fn on_scale(scale: f32, x: f32, min: f32, max: f32) -> (f32, f32) {
    let level = integer(x * inverse_scale(scale), min, max);
    (level, level * scale)
}

/// The code of `x` on a line `(scale, minimum)`, and the value that it stands for.
fn on_line((scale, minimum): (f32, f32), x: f32, max_code: f32) -> (u8, f32) {
    let code = code_on((scale, minimum), x, max_code);
    (code, scale * f32::from(code) - minimum)
}

/// The scale `d` of least error `Σ importance (x - d level(x / d))²`: each candidate gives levels, and
/// the levels give the best scale for them. 0 for a block of zeros.
pub(super) fn fit_scale(
    values: &[f32],
    importance: &[f32],
    candidates: &[f32],
    level: impl Fn(f32) -> f32,
) -> f32 {
    let absmax = absmax(values);
    let (mut best, mut most) = (candidates[0] * absmax, 0.0);
    for candidate in candidates {
        let inverse = inverse_scale(candidate * absmax);
        let (xl, ll) = moments(values, importance, |x| level(x * inverse));
        if ll > 0.0 && xl * xl / ll > most {
            (best, most) = (xl / ll, xl * xl / ll);
        }
    }
    best
}

/// The nearest f16 that is finite.
pub(crate) fn finite_f16(x: f32) -> f16 {
    f16::from_f32(x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

#[cfg(test)]
mod tests;

//! Double quantization: the `absmax` values of NF4 or FP4, stored in 8 bits each.
//!
//! The mean of all `absmax` is taken off, and what is left is quantized in blocks of 256 to the
//! dynamic 8-bit data type: `absmax ≈ codebook[code] * absmax_absmax + offset`.
//!
//! Source: Dettmers et al. (2023), <https://arxiv.org/abs/2305.14314>, section 3; the data type is
//! from Dettmers (2015), <https://arxiv.org/abs/1511.04561>.

use std::sync::{Arc, LazyLock};

use crate::packed::block_rounding::absmax;

/// `absmax` values that share one second-level scale.
pub(super) const NESTED_BLOCK_SIZE: usize = 256;

/// bitsandbytes finds the nearest code through a table over `[-1, 1]` in this many steps, so that
/// an element within half a step of a midpoint may fall on either side of it.
const N_STEPS: usize = 65_536;

/// The codes and scales of one weight.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NestedAbsmax {
    /// One code per block of the weight.
    pub(super) codes: Arc<Vec<u8>>,
    /// One second-level scale per 256 codes.
    pub(super) absmax: Arc<Vec<f32>>,
    /// Mean of the original `absmax`.
    pub(super) offset: f32,
}

impl NestedAbsmax {
    /// Quantizes finite `scales`.
    pub(super) fn pack(scales: &[f32]) -> Self {
        let offset = mean(scales);
        let mut codes = Vec::with_capacity(scales.len());
        let mut nested = Vec::with_capacity(scales.len().div_ceil(NESTED_BLOCK_SIZE));
        for block in scales.chunks(NESTED_BLOCK_SIZE) {
            let centred: Vec<f32> = block.iter().map(|scale| scale - offset).collect();
            let absmax = absmax(&centred);
            nested.push(absmax);
            if absmax == 0.0 {
                // All equal: any code is right, and bitsandbytes writes 0.
                codes.resize(codes.len() + block.len(), 0);
            } else {
                let inverse = 1.0 / absmax;
                codes.extend(centred.iter().map(|x| nearest_code(x * inverse)));
            }
        }
        Self {
            codes: Arc::new(codes),
            absmax: Arc::new(nested),
            offset,
        }
    }

    /// The `absmax` of block `i`, rebuilt.
    #[inline]
    pub(super) fn get(&self, codebook: &[f32; 256], i: usize) -> f32 {
        codebook[usize::from(self.codes[i])] * self.absmax[i / NESTED_BLOCK_SIZE] + self.offset
    }
}

/// The 256 values of the signed dynamic 8-bit data type, ascending.
///
/// Seven decades from `1e-6` to 1; decade `i` is cut into `2^i` equal steps whose midpoints are
/// the values. The negatives mirror the positives, and 0 and 1 fill the two places left.
pub fn dynamic_codebook() -> &'static [f32; 256] {
    static CODEBOOK: LazyLock<[f32; 256]> = LazyLock::new(|| {
        const ZERO: usize = 127;
        let mut codebook = [0.0; 256];
        let mut distance = 1;
        for (decade, power) in [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0_f32]
            .into_iter()
            .enumerate()
        {
            for item in 0..1 << decade {
                let value = power * ((boundary(item, decade) + boundary(item + 1, decade)) / 2.0);
                codebook[ZERO + distance] = value;
                codebook[ZERO - distance] = -value;
                distance += 1;
            }
        }
        codebook[255] = 1.0;
        codebook
    });
    &CODEBOOK
}

/// Point `i` of `2^decade + 1` evenly spaced from 0.1 to 1, with the rounding of torch's `linspace`:
/// the upper half is measured from the end, and product and sum are rounded together.
fn boundary(i: usize, decade: usize) -> f32 {
    let n_steps: usize = 1 << decade;
    let step = (1.0 - 0.1_f32) / n_steps as f32;
    if i < n_steps.div_ceil(2) {
        step.mul_add(i as f32, 0.1)
    } else {
        step.mul_add(-((n_steps - i) as f32), 1.0)
    }
}

/// Code of `x` in `[-1, 1]`.
fn nearest_code(x: f32) -> u8 {
    static NEAREST: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let codebook = dynamic_codebook();
        let mut code = 0;
        (0..N_STEPS)
            .map(|step| {
                let x = -1.0 + 2.0 * step as f32 / (N_STEPS - 1) as f32;
                while code < 255 && 0.5 * (codebook[code] + codebook[code + 1]) < x {
                    code += 1;
                }
                code as u8
            })
            .collect()
    });
    let step = (x.clamp(-1.0, 1.0) + 1.0) * 0.5 * (N_STEPS - 1) as f32 + 0.5;
    NEAREST[step as usize]
}

/// Mean, summed in f64.
///
/// torch sums in f32, in an order that depends on the CPU's vector width and on the number of
/// threads. For a bf16 checkpoint every such sum is exact and ours is the same; for others the
/// last bit may differ, from ours as from one machine to the next.
fn mean(values: &[f32]) -> f32 {
    let sum: f64 = values.iter().map(|x| f64::from(*x)).sum();
    (sum / values.len().max(1) as f64) as f32
}

//! NF4, the 4-bit NormalFloat of QLoRA.
//!
//! Source: Dettmers et al. (2023), <https://arxiv.org/abs/2305.14314>, section 3 and appendix E.

/// The 16 values of NF4: quantiles of the standard normal, scaled to `[-1, 1]`, with an exact 0.
pub const NF4_CODEBOOK: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Its codes by ascending value: the values are in order.
pub(super) const ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

//! Blocks of 256 values ("K quants") to `f32`, in exactly the order of operations of llama.cpp.
//!
//! Source: llama.cpp, `ggml/src/ggml-quants.c`, `dequantize_row_q{4,5,6}_K`.

use super::blocks::scale;

/// Eight groups of 32. Group `g` has `(d * scale[g]) * q - (dmin * min[g])`.
/// Layout: d f16, dmin f16, scales and minima `[12]`, codes `[128]`.
pub(super) fn dequantize_q4_k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .as_chunks::<144>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<256>().0)
    {
        let groups = scaled_groups(block);
        let codes = &block[16..];
        for (g, (out, (d, m))) in out
            .as_chunks_mut::<32>()
            .0
            .iter_mut()
            .zip(groups)
            .enumerate()
        {
            for (i, y) in out.iter_mut().enumerate() {
                *y = d * f32::from(nibble(codes, g, i)) - m;
            }
        }
    }
}

/// Like [`dequantize_q4_k`], with the fifth bits `[32]` between the scales and the codes: bit `g` of
/// byte `i` belongs to value `i` of group `g`.
pub(super) fn dequantize_q5_k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .as_chunks::<176>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<256>().0)
    {
        let groups = scaled_groups(block);
        let (high, codes) = block[16..].split_at(32);
        for (g, (out, (d, m))) in out
            .as_chunks_mut::<32>()
            .0
            .iter_mut()
            .zip(groups)
            .enumerate()
        {
            for (i, y) in out.iter_mut().enumerate() {
                let fifth = (high[i] >> g) & 1;
                *y = d * f32::from(nibble(codes, g, i) | fifth << 4) - m;
            }
        }
    }
}

/// Sixteen groups of 16. Group `g` has `(d * scale[g]) * (q - 32)`.
/// Layout: lower four bits `[128]`, upper two bits `[64]`, scales i8 `[16]`, d f16.
pub(super) fn dequantize_q6_k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .as_chunks::<210>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<256>().0)
    {
        let d = scale(block, 208);
        let (low, rest) = block.split_at(128);
        let (high, scales) = rest.split_at(64);
        let scales: [f32; 16] = std::array::from_fn(|g| d * f32::from(scales[g].cast_signed()));
        for (i, y) in out.iter_mut().enumerate() {
            // Halves of 128 values; in each, quarters of 32 share the bytes.
            let (half, quarter, lane) = (i / 128, i / 32 % 4, i % 32);
            let four = (low[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4)) & 0x0f;
            let two = (high[half * 32 + lane] >> (quarter * 2)) & 3;
            *y = scales[i / 16] * f32::from((four | two << 4).cast_signed() - 32);
        }
    }
}

/// Code `i` of group `g`: pairs of groups share 32 bytes, the even one in the lower nibbles.
fn nibble(codes: &[u8], g: usize, i: usize) -> u8 {
    (codes[g / 2 * 32 + i] >> (g % 2 * 4)) & 0x0f
}

/// Scale and minimum of each group, from the first 16 bytes of a block: `d * scale`, `dmin * min`,
/// where scale and min have six bits. Of groups 0 to 3 they fill the lower six bits of bytes 0 to 3
/// and 4 to 7; of groups 4 to 7 the lower four bits lie in bytes 8 to 11 and the upper two on top of
/// the former.
fn scaled_groups<const N: usize>(block: &[u8; N]) -> [(f32, f32); 8] {
    let (d, d_min) = (scale(block, 0), scale(block, 2));
    let packed = &block[4..16];
    std::array::from_fn(|g| {
        let (scale, min) = if g < 4 {
            (packed[g] & 0x3f, packed[g + 4] & 0x3f)
        } else {
            let both = packed[g + 4];
            (
                (both & 0x0f) | (packed[g - 4] >> 6) << 4,
                (both >> 4) | (packed[g] >> 6) << 4,
            )
        };
        (d * f32::from(scale), d_min * f32::from(min))
    })
}

//! Keys and values in 4 bits.
//!
//! A token's vector is cut into groups of 32; each has a scale and a minimum in f16:
//! `x = minimum + scale * code`, 5 bits a value. Keys are rotated before ([`rotate_heads`]). A page
//! is turned into f32 once for a task.

#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use half::f16;

use crate::packed::finite_f16;

use super::gemm::panel_width;
use super::kv_form::{KvForm, ReadHead};
use super::kv_page::{AttentionShape, KvPage, PAGE_TOKENS, PageHead};
use super::simd::Simd;

#[cfg(doc)]
use super::hadamard::rotate_heads;

/// Values that share a scale and a minimum; whole panels of every level.
pub(crate) const GROUP: usize = 32;

/// Largest code.
const LARGEST_CODE: f32 = 15.0;

/// The codes as f32.
const CODES: [f32; 16] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
];

/// Pages of [`KvFormat::Int4`](super::kv_format::KvFormat::Int4).
pub(crate) struct Int4;

impl KvForm for Int4 {
    type Element = f32;
    const ROTATED: bool = true;

    #[inline(always)]
    fn read<'a, S: Simd>(
        s: S,
        (page, kv_head): (&'a KvPage, usize),
        shape: &AttentionShape,
        _: usize,
        [keys, values]: &'a mut [Vec<f32>; 2],
    ) -> ReadHead<'a, f32> {
        let [key_codes, value_codes, key_grids, value_grids] =
            parts(page.bytes(shape, kv_head), shape);
        unpack_keys(s, shape, key_codes, bytemuck::cast_slice(key_grids), keys);
        unpack_values(
            s,
            shape,
            value_codes,
            bytemuck::cast_slice(value_grids),
            values,
        );
        ReadHead::Widened(PageHead {
            keys,
            values,
            key_scales: &[],
            value_scales: &[],
        })
    }
}

/// Bytes of a head's parts: codes of the keys, `[64 / width, head_dim / 2, width]` with the even
/// number of a pair in the low nibble; codes of the values, `[value_stride / width, 32, width]` with
/// the even token in the low nibble; grids of the keys and of the values, `[groups, 2, 64]` f16
/// each, scales before minimums.
fn part_bytes(shape: &AttentionShape) -> [usize; 4] {
    let n_groups = shape.head_dim.div_ceil(GROUP);
    let grids = n_groups * 2 * PAGE_TOKENS * size_of::<f16>();
    let keys = PAGE_TOKENS * shape.head_dim.div_ceil(2);
    [keys, PAGE_TOKENS / 2 * shape.value_stride(), grids, grids]
}

/// Bytes of one head in a page.
pub(crate) fn head_bytes(shape: &AttentionShape) -> usize {
    part_bytes(shape).iter().sum()
}

/// See [`part_bytes`].
fn parts<'a>(head: &'a [u8], shape: &AttentionShape) -> [&'a [u8]; 4] {
    let mut rest = head;
    part_bytes(shape).map(|n| {
        let (part, behind) = rest.split_at(n);
        rest = behind;
        part
    })
}

/// Scale and minimum of a group.
#[derive(Clone, Copy, Debug)]
struct Grid {
    scale: f16,
    min: f16,
}

impl Grid {
    /// From the least to the largest of some numbers. What is no number stays none: the minimum is
    /// not one either.
    fn of(group: &[f32]) -> Self {
        if group.iter().any(|x| x.is_nan()) {
            let (scale, min) = (f16::ZERO, f16::NAN);
            return Self { scale, min };
        }
        let min = finite_f16(group.iter().copied().fold(f32::INFINITY, f32::min));
        let max = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = finite_f16((max - min.to_f32()).max(0.0) / LARGEST_CODE);
        Self { scale, min }
    }

    /// `(x - minimum) / scale`, rounded.
    fn encode(self, x: f32) -> u8 {
        let scale = self.scale.to_f32();
        if scale == 0.0 {
            return 0;
        }
        let code = ((x - self.min.to_f32()) / scale).round_ties_even();
        code.clamp(0.0, LARGEST_CODE) as u8
    }
}

/// Puts a token's key and value, `[head_dim]` each, into a place of a head's bytes.
pub(crate) fn write_head(
    shape: &AttentionShape,
    head: &mut [u8],
    place: usize,
    key: &[f32],
    value: &[f32],
) {
    let (width, n_pairs) = (panel_width(shape.level), shape.head_dim.div_ceil(2));
    let [key_bytes, value_bytes, grid_bytes, _] = part_bytes(shape);
    let (keys, rest) = head.split_at_mut(key_bytes);
    let (values, grids) = rest.split_at_mut(value_bytes);
    let (key_grids, value_grids) = grids.split_at_mut(grid_bytes);
    encode(
        key,
        bytemuck::cast_slice_mut(key_grids),
        place,
        |i, code| {
            let at = (place / width * n_pairs + i / 2) * width + place % width;
            put_nibble(&mut keys[at], i, code);
        },
    );
    encode(
        value,
        bytemuck::cast_slice_mut(value_grids),
        place,
        |i, code| {
            let at = (i / width * (PAGE_TOKENS / 2) + place / 2) * width + i % width;
            put_nibble(&mut values[at], place, code);
        },
    );
}

/// Calls `put` with the codes of a vector, and writes its grids.
fn encode(vector: &[f32], grids: &mut [u16], place: usize, mut put: impl FnMut(usize, u8)) {
    let grids = grids.chunks_exact_mut(2 * PAGE_TOKENS);
    for (n, (group, grids)) in vector.chunks(GROUP).zip(grids).enumerate() {
        let grid = Grid::of(group);
        grids[place] = grid.scale.to_bits();
        grids[PAGE_TOKENS + place] = grid.min.to_bits();
        for (i, x) in group.iter().enumerate() {
            put(n * GROUP + i, grid.encode(*x));
        }
    }
}

/// Sets the low nibble for an even index, the high one for an odd.
fn put_nibble(byte: &mut u8, index: usize, code: u8) {
    *byte = match index % 2 {
        0 => *byte & 0xf0 | code,
        _ => *byte & 0x0f | code << 4,
    };
}

/// Keys as f32, `[64 / width, head_dim, width]`.
#[inline(always)]
fn unpack_keys<S: Simd>(
    s: S,
    shape: &AttentionShape,
    codes: &[u8],
    grids: &[u16],
    to: &mut Vec<f32>,
) {
    let (width, head_dim) = (2 * S::LANES, shape.head_dim);
    to.resize(PAGE_TOKENS * head_dim, 0.0);
    let codes = codes.chunks_exact(width * head_dim.div_ceil(2));
    let panels = codes.zip(to.chunks_exact_mut(width * head_dim));
    for (panel, (codes, to)) in panels.enumerate() {
        let grids = grids.chunks_exact(2 * PAGE_TOKENS);
        for (to, (grids, group)) in to.chunks_mut(GROUP * width).zip(grids.zip(0..)) {
            let (scales, mins) = grids.split_at(PAGE_TOKENS);
            let scales = load_pair(s, &scales[panel * width..]);
            let grids = [scales, load_pair(s, &mins[panel * width..])];
            for (i, to) in to.chunks_exact_mut(width).enumerate() {
                let codes = &codes[(group * GROUP + i) / 2 * width..];
                unpack(s, codes, i, grids, to);
            }
        }
    }
}

/// Values as f32, `[value_stride / width, 64, width]`.
#[inline(always)]
fn unpack_values<S: Simd>(
    s: S,
    shape: &AttentionShape,
    codes: &[u8],
    grids: &[u16],
    to: &mut Vec<f32>,
) {
    let width = 2 * S::LANES;
    to.resize(PAGE_TOKENS * shape.value_stride(), 0.0);
    let codes = codes.chunks_exact(width * PAGE_TOKENS / 2);
    let panels = codes.zip(to.chunks_exact_mut(width * PAGE_TOKENS));
    for (panel, (codes, to)) in panels.enumerate() {
        let grids = &grids[panel * width / GROUP * 2 * PAGE_TOKENS..][..2 * PAGE_TOKENS];
        let mut floats = [0.0; 2 * PAGE_TOKENS];
        for (floats, grids) in floats
            .chunks_exact_mut(width)
            .zip(grids.chunks_exact(width))
        {
            store_pair(s, load_pair(s, grids), floats);
        }
        let (scales, mins) = floats.split_at(PAGE_TOKENS);
        for (token, to) in to.chunks_exact_mut(width).enumerate() {
            let grids = [[s.splat(scales[token]); 2], [s.splat(mins[token]); 2]];
            unpack(s, &codes[token / 2 * width..], token, grids, to);
        }
    }
}

/// Two vectors, from the low nibbles for an even index and from the high ones for an odd, by their
/// scales and minimums.
#[inline(always)]
fn unpack<S: Simd>(
    s: S,
    codes: &[u8],
    index: usize,
    [scales, mins]: [[S::F; 2]; 2],
    to: &mut [f32],
) {
    let codes = &codes[..2 * S::LANES];
    // SAFETY: there are two vectors of bytes.
    let codes = unsafe {
        let codes = codes.as_ptr();
        [s.load_u8(codes), s.load_u8(codes.add(S::LANES))]
    };
    let codes = match index % 2 {
        0 => [
            s.lookup_low(&CODES, codes[0]),
            s.lookup_low(&CODES, codes[1]),
        ],
        _ => [
            s.lookup_high(&CODES, codes[0]),
            s.lookup_high(&CODES, codes[1]),
        ],
    };
    let values = [
        s.fma(codes[0], scales[0], mins[0]),
        s.fma(codes[1], scales[1], mins[1]),
    ];
    store_pair(s, values, to);
}

#[inline(always)]
fn load_pair<S: Simd>(s: S, from: &[u16]) -> [S::F; 2] {
    let from = &from[..2 * S::LANES];
    // SAFETY: there are two vectors of f16.
    unsafe {
        [
            s.load_f16(from.as_ptr()),
            s.load_f16(from.as_ptr().add(S::LANES)),
        ]
    }
}

#[inline(always)]
fn store_pair<S: Simd>(s: S, [low, high]: [S::F; 2], to: &mut [f32]) {
    let to = &mut to[..2 * S::LANES];
    // SAFETY: there is room for two vectors.
    unsafe {
        s.store(to.as_mut_ptr(), low);
        s.store(to.as_mut_ptr().add(S::LANES), high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group's numbers as they are read.
    fn rounded(group: &[f32]) -> Vec<f32> {
        let grid = Grid::of(group);
        let [scale, min] = [grid.scale, grid.min].map(f16::to_f32);
        let read = |x: &f32| f32::from(grid.encode(*x)) * scale + min;
        group.iter().map(read).collect()
    }

    #[test]
    fn numbers_are_about_half_a_step_off_at_most() {
        for offset in [-3.0, 0.0, 0.7, 40.0] {
            let group: Vec<f32> = (0..GROUP)
                .map(|i| offset + ((i * 13) % 32) as f32 / 9.0)
                .collect();
            // A step; a minimum and fifteen steps are off by 2^-11 of themselves.
            let step = 31.0 / 9.0 / 15.0;
            let tolerance = 0.5 * step + (offset.abs() + 31.0 / 9.0) / 2048.0;
            for (x, read) in group.iter().zip(rounded(&group)) {
                assert!((x - read).abs() <= tolerance, "{x} as {read}");
            }
        }
    }

    #[test]
    fn equal_numbers_stay_and_large_ones_stop_at_those_of_f16() {
        assert_eq!(rounded(&[0.0; 32]), [0.0; 32]);
        assert_eq!(rounded(&[1.5; 7]), [1.5; 7]);
        let [least, zero] = rounded(&[f32::NEG_INFINITY, 0.0])[..] else {
            panic!("two numbers");
        };
        // Fifteen steps, each rounded to eleven bits.
        assert!(least == -65_504.0 && zero.abs() <= 65_504.0 / 2048.0);
        assert!(rounded(&[1.0, f32::INFINITY]).iter().all(|x| x.is_finite()));
        assert!(rounded(&[1.0, f32::NAN]).iter().all(|x| x.is_nan()));
    }
}

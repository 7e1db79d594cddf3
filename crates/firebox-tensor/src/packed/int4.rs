//! INT4 in groups: `w ≈ s (q - z)` with 4-bit `q`, an f16 scale `s` for each group, and a 4-bit zero
//! point `z`, which is 8 where groups are symmetric.
//!
//! Two codes share a byte, the first in the low nibble; likewise two zero points.
//!
//! Source: the asymmetric form is that of Jacob et al. (2018), equation 1,
//! <https://arxiv.org/abs/1712.05877>; groups of weights as GPTQ and AWQ have them.

use std::fmt;

use half::f16;
use rayon::prelude::*;

use crate::packed::{
    block_rounding::{absmax, integer, moments},
    q8_0::inverse_scale,
};

/// Largest magnitude whose scale fits in f16.
pub(super) const LIMIT: f32 = 7.0 * 65_504.0;
/// Largest code.
const MAX_CODE: f32 = 15.0;
/// The zero point of symmetric groups.
pub(crate) const SYMMETRIC_ZERO: u8 = 8;

/// How weights are grouped in [`PackedFormat::Int4`](crate::packed::PackedFormat::Int4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Int4Groups {
    size: u8,
    symmetric: bool,
}

impl Int4Groups {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::asymmetric_of(32),
        Self::asymmetric_of(64),
        Self::asymmetric_of(128),
        Self::symmetric_of(32),
        Self::symmetric_of(64),
        Self::symmetric_of(128),
    ];

    const fn asymmetric_of(size: u8) -> Self {
        let symmetric = false;
        Self { size, symmetric }
    }

    const fn symmetric_of(size: u8) -> Self {
        let symmetric = true;
        Self { size, symmetric }
    }

    /// Groups of 32, 64 or 128, each with a zero point of its own; `None` for other sizes.
    pub fn asymmetric(size: usize) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|groups| groups.size() == size && !groups.symmetric)
    }

    /// Groups of 32, 64 or 128 around 0; `None` for other sizes.
    pub fn symmetric(size: usize) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|groups| groups.size() == size && groups.symmetric)
    }

    /// Elements of a group, neighbours in a row.
    pub fn size(self) -> usize {
        usize::from(self.size)
    }

    /// Whether all zero points are 8, and not stored.
    pub fn is_symmetric(self) -> bool {
        self.symmetric
    }

    pub(super) fn name(self) -> &'static str {
        match (self.size, self.symmetric) {
            (32, false) => "int4-32",
            (64, false) => "int4-64",
            (_, false) => "int4-128",
            (32, true) => "int4-32-sym",
            (64, true) => "int4-64-sym",
            (_, true) => "int4-128-sym",
        }
    }
}

impl fmt::Display for Int4Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Scale and zero point of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) scale: f16,
    pub(crate) zero: u8,
}

impl Group {
    /// From 0, or the least value if that is below, to the greatest, or 0; symmetric groups to the
    /// largest magnitude on both sides.
    pub(super) fn of_range(groups: Int4Groups, values: &[f32]) -> Self {
        Self::shrunk(groups, values, 1.0)
    }

    /// As [`Self::of_range`], for a part of the range.
    fn shrunk(groups: Int4Groups, values: &[f32], part: f32) -> Self {
        if groups.symmetric {
            let scale = f16::from_f32(part * absmax(values) / (MAX_CODE / 2.0));
            let zero = SYMMETRIC_ZERO;
            return Self { scale, zero };
        }
        let min = part * values.iter().copied().fold(0.0, f32::min);
        let max = part * values.iter().copied().fold(0.0, f32::max);
        let scale = f16::from_f32((max - min) / MAX_CODE);
        let zero = integer(-min * inverse_scale(scale.to_f32()), 0.0, MAX_CODE);
        Self {
            scale,
            zero: zero as u8,
        }
    }

    /// The group of least error among those of smaller ranges, each value counting as much as
    /// `importance` says: the codes of a range give the best scale for them.
    pub(super) fn fit(groups: Int4Groups, values: &[f32], importance: &[f32]) -> Self {
        const CANDIDATES: usize = 26;
        let (mut best, mut most) = (Self::of_range(groups, values), 0.0);
        for candidate in 0..CANDIDATES {
            let range = Self::shrunk(groups, values, 1.05 - 0.02 * candidate as f32);
            let (inverse, zero) = (range.inverse(), f32::from(range.zero));
            let level = |x: f32| integer(x * inverse, -zero, MAX_CODE - zero);
            let (xl, ll) = moments(values, importance, level);
            if ll > 0.0 && xl * xl / ll > most {
                let scale = (xl / ll).clamp(-f16::MAX.to_f32(), f16::MAX.to_f32());
                most = xl * xl / ll;
                best = Self {
                    scale: f16::from_f32(scale),
                    ..range
                };
            }
        }
        best
    }

    /// `1 / scale`, or 0 for a group of zeros.
    fn inverse(self) -> f32 {
        inverse_scale(self.scale.to_f32())
    }

    /// The nearest code.
    pub(super) fn code(self, x: f32) -> u8 {
        let zero = f32::from(self.zero);
        (integer(x * self.inverse(), -zero, MAX_CODE - zero) + zero) as u8
    }

    /// What a code stands for.
    pub(super) fn value(self, code: u8) -> f32 {
        self.scale.to_f32() * (f32::from(code) - f32::from(self.zero))
    }
}

/// The arrays of a weight.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Int4Arrays {
    /// Two a byte.
    pub(super) codes: Vec<u8>,
    /// Little-endian f16.
    pub(super) scales: Vec<u8>,
    /// Two a byte, each row from a byte of its own; empty for symmetric groups.
    pub(super) zeros: Vec<u8>,
}

/// Bytes of the zero points of a row.
pub(super) fn zero_bytes(groups: Int4Groups, n_cols: usize) -> usize {
    match groups.symmetric {
        true => 0,
        false => (n_cols / groups.size()).div_ceil(2),
    }
}

/// Packs finite weights whose rows are whole groups.
pub(super) fn pack(groups: Int4Groups, weight: &[f32], n_cols: usize) -> Int4Arrays {
    if n_cols == 0 {
        return Int4Arrays::default();
    }
    let rows = weight.par_chunks(n_cols).map(|row| {
        let of_range = row
            .chunks(groups.size())
            .map(|values| Group::of_range(groups, values));
        let of_range: Vec<Group> = of_range.collect();
        let codes = row.chunks(groups.size()).zip(&of_range);
        let codes: Vec<u8> = codes
            .flat_map(|(row, group)| row.iter().map(|x| group.code(*x)))
            .collect();
        (of_range, codes)
    });
    let rows: Vec<(Vec<Group>, Vec<u8>)> = rows.collect();
    let mut arrays = Int4Arrays::default();
    for (of_row, codes) in rows {
        arrays.push_row(groups, &of_row, &codes);
    }
    arrays
}

impl Int4Arrays {
    /// Appends a row of codes, one a byte.
    pub(super) fn push_row(&mut self, groups: Int4Groups, of_row: &[Group], codes: &[u8]) {
        self.codes.extend(codes.chunks(2).map(two));
        self.scales
            .extend(of_row.iter().flat_map(|group| group.scale.to_le_bytes()));
        if !groups.symmetric {
            let zeros: Vec<u8> = of_row.iter().map(|group| group.zero).collect();
            self.zeros.extend(zeros.chunks(2).map(two));
        }
    }

    /// The codes of a row, two a byte.
    pub(super) fn row_codes(&self, row: usize, n_cols: usize) -> &[u8] {
        &self.codes[row * n_cols / 2..][..n_cols / 2]
    }

    /// The groups of a row.
    pub(super) fn row_groups(&self, groups: Int4Groups, row: usize, n_cols: usize) -> Vec<Group> {
        let n_groups = n_cols / groups.size();
        let (scales, _) = self.scales[2 * row * n_groups..][..2 * n_groups].as_chunks();
        let zeros = &self.zeros[row * zero_bytes(groups, n_cols)..];
        let zero = |i: usize| match groups.symmetric {
            true => SYMMETRIC_ZERO,
            false => zeros[i / 2] >> (i % 2 * 4) & 15,
        };
        let group = |(i, scale): (usize, &[u8; 2])| Group {
            scale: f16::from_le_bytes(*scale),
            zero: zero(i),
        };
        scales.iter().enumerate().map(group).collect()
    }

    /// One row of the weight.
    pub(super) fn unpack_row(&self, groups: Int4Groups, row: usize, out: &mut [f32]) {
        let n_cols = out.len();
        let of_row = self.row_groups(groups, row, n_cols);
        let codes = self.row_codes(row, n_cols).chunks(groups.size() / 2);
        for ((out, codes), group) in out.chunks_mut(groups.size()).zip(codes).zip(of_row) {
            let (scale, zero) = (group.scale.to_f32(), f32::from(group.zero));
            let (pairs, _) = out.as_chunks_mut::<2>();
            for (pair, byte) in pairs.iter_mut().zip(codes) {
                pair[0] = scale * (f32::from(byte & 15) - zero);
                pair[1] = scale * (f32::from(byte >> 4) - zero);
            }
        }
    }
}

/// The first in the low nibble.
fn two(codes: &[u8]) -> u8 {
    codes[0] | codes.get(1).map_or(0, |high| high << 4)
}

#[cfg(test)]
mod tests;

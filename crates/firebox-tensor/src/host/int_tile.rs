//! The innermost product of integers: a few quantized rows times one panel.

#![expect(unsafe_code, reason = "pointers in the innermost loop")]

use super::activations::{BLOCK, QuantizedRows};
use super::float_tile::Out;
use super::int_panel::{GROUPS, IntCodes, Scales};
use super::panel_matrix::Start;
use super::simd::Simd;

/// Rows of the left factor: their codes, scales and sums.
#[derive(Clone, Copy)]
pub(crate) struct IntLeft {
    codes: *const i8,
    scales: *const f32,
    half_sums: *const i32,
    n_blocks: usize,
}

impl IntLeft {
    /// `n_in` wide rows.
    pub(crate) fn new(rows: &QuantizedRows, n_in: usize) -> Self {
        Self {
            codes: rows.codes.as_ptr(),
            scales: rows.scales.as_ptr(),
            half_sums: rows.half_sums.as_ptr(),
            n_blocks: n_in / BLOCK,
        }
    }

    /// The same from row `row` on.
    ///
    /// # Safety
    /// There is such a row.
    #[inline(always)]
    pub(crate) unsafe fn at_row(self, row: usize) -> Self {
        // SAFETY: says the caller.
        unsafe {
            Self {
                codes: self.codes.add(row * self.n_blocks * BLOCK),
                scales: self.scales.add(row * self.n_blocks),
                half_sums: self.half_sums.add(2 * row * self.n_blocks),
                ..self
            }
        }
    }

    /// The sum of a row's codes in one span of a block.
    ///
    /// # Safety
    /// There is such a row and such a block.
    #[inline(always)]
    unsafe fn sum<C: IntCodes>(self, row: usize, block: usize, span: usize) -> i32 {
        // SAFETY: two sums for each block, says the caller.
        unsafe {
            let halves = self.half_sums.add(2 * (row * self.n_blocks + block));
            match C::SPANS {
                1 => *halves + *halves.add(1),
                _ => *halves.add(span),
            }
        }
    }
}

/// `n_rows` rows times one panel: within a span of a block, whose inputs share a scale, the sums are
/// integers and exact; spans and blocks are added one after the other, whatever the number of rows.
///
/// # Safety
/// The left factor has `n_rows` rows, the panel as many blocks as they, and the result is good for
/// `n_rows` rows of two vectors.
#[inline(always)]
pub(crate) unsafe fn tile_rows<S: Simd, C: IntCodes>(
    s: S,
    n_rows: usize,
    left: IntLeft,
    panel: *const u8,
    out: Out,
    start: Start,
) {
    let mut row = 0;
    while row < n_rows {
        let rest = n_rows - row;
        // SAFETY: rows `row ..` are there, says the caller.
        unsafe {
            let left = left.at_row(row);
            let out = Out {
                values: out.values.add(row * out.stride),
                ..out
            };
            row += if S::INT_ROWS >= 6 && rest >= 6 {
                tile::<S, C, 6>(s, left, panel, out, start)
            } else if S::INT_ROWS >= 3 && rest >= 3 {
                tile::<S, C, 3>(s, left, panel, out, start)
            } else if rest >= 2 {
                tile::<S, C, 2>(s, left, panel, out, start)
            } else {
                tile::<S, C, 1>(s, left, panel, out, start)
            };
        }
    }
}

/// Exactly `ROWS` rows; returns their number.
///
/// # Safety
/// As [`tile_rows`].
#[inline(always)]
unsafe fn tile<S: Simd, C: IntCodes, const ROWS: usize>(
    s: S,
    left: IntLeft,
    panel: *const u8,
    out: Out,
    start: Start,
) -> usize {
    let mut totals = [[s.splat(0.0); 2]; ROWS];
    // SAFETY: every address below is of an element that the caller vouches for.
    unsafe {
        if start == Start::Accumulate {
            for (row, totals) in totals.iter_mut().enumerate() {
                let out = out.values.add(row * out.stride);
                *totals = [s.load(out), s.load(out.add(S::LANES))];
            }
        }
        for block in 0..left.n_blocks {
            for span in 0..C::SPANS {
                let sums = span_sums::<S, C, ROWS>(s, left, panel, block, span);
                let Scales { scales, minimums } = C::scales(s, panel, block, span);
                for (row, totals) in totals.iter_mut().enumerate() {
                    let scale = *left.scales.add(row * left.n_blocks + block);
                    for half in 0..2 {
                        let both = s.mul(scales[half], s.splat(scale));
                        totals[half] = s.fma(s.to_float(sums[row][half]), both, totals[half]);
                    }
                    if C::HAS_MINIMUM {
                        let sum = s.splat(scale * left.sum::<C>(row, block, span) as f32);
                        for (total, minimum) in totals.iter_mut().zip(minimums) {
                            *total = s.fma(minimum, sum, *total);
                        }
                    }
                }
            }
        }
        for (row, totals) in totals.into_iter().enumerate() {
            let out = out.values.add(row * out.stride);
            s.store(out, totals[0]);
            s.store(out.add(S::LANES), totals[1]);
        }
    }
    ROWS
}

/// The sums of one span of a block, which begin at what takes the codes' bias off.
///
/// # Safety
/// As [`tile_rows`], and there is such a block.
#[inline(always)]
unsafe fn span_sums<S: Simd, C: IntCodes, const ROWS: usize>(
    s: S,
    left: IntLeft,
    panel: *const u8,
    block: usize,
    span: usize,
) -> [[S::I; 2]; ROWS] {
    let loads = GROUPS / C::SPANS / C::PARTS;
    let mut sums = [[s.int_splat(0); 2]; ROWS];
    // SAFETY: every address below is of an element that the caller vouches for.
    unsafe {
        let weights = panel.add(C::block_at(block, S::LANES));
        for (row, sums) in sums.iter_mut().enumerate() {
            let sum = left.sum::<C>(row, block, span);
            *sums = [s.int_splat(-C::bias::<S>() * sum); 2];
        }
        for load in 0..loads {
            let codes = weights.add((span * loads + load) * 8 * S::LANES);
            let loaded = [s.load_bytes(codes), s.load_bytes(codes.add(4 * S::LANES))];
            for part in 0..C::PARTS {
                let group = (span * C::PARTS + part) * loads + load;
                let codes = C::codes(s, weights, loaded, group);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let at = (row * left.n_blocks + block) * BLOCK + group * 4;
                    let x = left.codes.add(at).cast::<i32>().read_unaligned();
                    sums[0] = C::dot(s, sums[0], codes[0], x);
                    sums[1] = C::dot(s, sums[1], codes[1], x);
                }
            }
        }
    }
    sums
}

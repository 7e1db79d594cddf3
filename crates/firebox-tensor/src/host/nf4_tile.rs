//! The innermost product of NF4 or FP4 and bf16: a few rows times some blocks of one panel.

#![expect(unsafe_code, reason = "pointers in the innermost loop")]

use std::ops::Range;

use super::float_tile::Out;
use super::gemm::TileTask;
use super::nf4_dot::{PAIRS, WORDS, block_bytes};
use super::panel_matrix::Start;
use super::simd::{Bf16Table, Simd};

/// The pairs of one block, `[pairs, 2 * LANES]`.
///
/// # Safety
/// `block` is a block, `to` good for its pairs.
#[inline(always)]
pub(crate) unsafe fn look_up<S: Simd>(s: S, table: &Bf16Table, block: *const u8, to: *mut u32) {
    for word in 0..WORDS {
        for half in 0..2 {
            // SAFETY: says the caller.
            unsafe {
                let codes = s.load_int(block.cast::<u32>().add((2 * word + half) * S::LANES));
                for pair in 0..4 {
                    let values = s.lookup_bf16(table, s.shift_right(codes, 4 * pair as u32));
                    s.store_int(to.add((2 * (4 * word + pair) + half) * S::LANES), values);
                }
            }
        }
    }
}

/// All rows over some blocks of one panel.
pub(crate) struct Nf4Blocks<'a> {
    /// The codebook.
    pub(crate) table: &'static Bf16Table,
    pub(crate) x: &'a [u32],
    pub(crate) row_stride: usize,
    /// The first of the blocks.
    pub(crate) blocks: *const u8,
    /// Its pairs, where it is the only one and was looked up.
    pub(crate) looked_up: Option<*const u32>,
    pub(crate) range: Range<usize>,
}

impl<S: Simd> TileTask<S> for Nf4Blocks<'_> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        let mut row = 0;
        while row < rows.len() {
            let rest = rows.len() - row;
            // SAFETY: rows of the left factor and of the result, says the caller.
            unsafe {
                let first_pair = (rows.start + row) * self.row_stride + self.range.start * PAIRS;
                let x = self.x.as_ptr().add(first_pair);
                let out = Out {
                    values: out.values.add(row * out.stride),
                    ..out
                };
                // With the pairs known, sums are all that registers hold.
                row += if self.looked_up.is_some() && S::FLOAT_ROWS >= 12 && rest >= 12 {
                    self.rows::<S, 12>(s, x, out, start)
                } else if S::INT_ROWS >= 6 && rest >= 6 {
                    self.rows::<S, 6>(s, x, out, start)
                } else if S::INT_ROWS >= 3 && rest >= 3 {
                    self.rows::<S, 3>(s, x, out, start)
                } else if rest >= 2 {
                    self.rows::<S, 2>(s, x, out, start)
                } else {
                    self.rows::<S, 1>(s, x, out, start)
                };
            }
        }
    }
}

impl Nf4Blocks<'_> {
    /// Exactly `ROWS` rows; returns their number. Within a block, pairs are added one after the
    /// other; then blocks, times their scales.
    ///
    /// # Safety
    /// `x` begins `ROWS` rows, and the result is good for them, two vectors wide.
    #[inline(always)]
    unsafe fn rows<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        x: *const u32,
        out: Out,
        start: Start,
    ) -> usize {
        // SAFETY: every address below is of an element that the caller vouches for.
        unsafe {
            if let Some(values) = self.looked_up {
                let sums = self.known::<S, ROWS>(s, x, values);
                let totals = load_totals::<S, ROWS>(s, out, start);
                let totals = add_block(s, totals, sums, self.blocks);
                store_totals(s, totals, out);
                return ROWS;
            }
            let mut totals = load_totals::<S, ROWS>(s, out, start);
            for block in 0..self.range.len() {
                let codes = self.blocks.add(block * block_bytes(2 * S::LANES));
                let sums = self.coded::<S, ROWS>(s, x.add(block * PAIRS), codes.cast());
                totals = add_block(s, totals, sums, codes);
            }
            store_totals(s, totals, out);
        }
        ROWS
    }

    /// The sums of one block whose pairs are looked up on the way.
    ///
    /// # Safety
    /// As [`Self::rows`].
    #[inline(always)]
    unsafe fn coded<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        x: *const u32,
        codes: *const u32,
    ) -> [[S::F; 2]; ROWS] {
        let mut sums = [[s.splat(0.0); 2]; ROWS];
        for word in 0..WORDS {
            // SAFETY: says the caller.
            unsafe {
                let codes = codes.add(2 * word * S::LANES);
                let codes = [s.load_int(codes), s.load_int(codes.add(S::LANES))];
                for pair in 0..4 {
                    let n = 4 * pair as u32;
                    // No closure: one that is not inlined would lack the level's instructions.
                    let values = [
                        s.lookup_bf16(self.table, s.shift_right(codes[0], n)),
                        s.lookup_bf16(self.table, s.shift_right(codes[1], n)),
                    ];
                    self.add::<S, ROWS>(s, x.add(4 * word + pair), values, &mut sums);
                }
            }
        }
        sums
    }

    /// The sums of one block whose pairs are known.
    ///
    /// # Safety
    /// As [`Self::rows`].
    #[inline(always)]
    unsafe fn known<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        x: *const u32,
        values: *const u32,
    ) -> [[S::F; 2]; ROWS] {
        let mut sums = [[s.splat(0.0); 2]; ROWS];
        for pair in 0..PAIRS {
            // SAFETY: says the caller.
            unsafe {
                let values = values.add(2 * pair * S::LANES);
                let values = [s.load_int(values), s.load_int(values.add(S::LANES))];
                self.add::<S, ROWS>(s, x.add(pair), values, &mut sums);
            }
        }
        sums
    }

    /// Adds one pair's products.
    ///
    /// # Safety
    /// As [`Self::rows`].
    #[inline(always)]
    unsafe fn add<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        x: *const u32,
        values: [S::I; 2],
        sums: &mut [[S::F; 2]; ROWS],
    ) {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: says the caller.
            let x = s.int_splat(unsafe { *x.add(row * self.row_stride) }.cast_signed());
            sums[0] = s.dot2_bf16(sums[0], values[0], x);
            sums[1] = s.dot2_bf16(sums[1], values[1], x);
        }
    }
}

/// What the result holds, or zeros.
///
/// # Safety
/// The result is good for `ROWS` rows, two vectors wide.
#[inline(always)]
unsafe fn load_totals<S: Simd, const ROWS: usize>(
    s: S,
    out: Out,
    start: Start,
) -> [[S::F; 2]; ROWS] {
    let mut totals = [[s.splat(0.0); 2]; ROWS];
    if start == Start::Accumulate {
        for (row, totals) in totals.iter_mut().enumerate() {
            // SAFETY: says the caller.
            unsafe {
                let out = out.values.add(row * out.stride);
                *totals = [s.load(out), s.load(out.add(S::LANES))];
            }
        }
    }
    totals
}

/// A block's sums times its scales.
///
/// # Safety
/// `block` is a block.
#[inline(always)]
unsafe fn add_block<S: Simd, const ROWS: usize>(
    s: S,
    mut totals: [[S::F; 2]; ROWS],
    sums: [[S::F; 2]; ROWS],
    block: *const u8,
) -> [[S::F; 2]; ROWS] {
    // SAFETY: says the caller.
    let scales = unsafe {
        let scales = block.cast::<f32>().add(2 * WORDS * S::LANES);
        [s.load(scales), s.load(scales.add(S::LANES))]
    };
    for (totals, sums) in totals.iter_mut().zip(sums) {
        for half in 0..2 {
            totals[half] = s.fma(sums[half], scales[half], totals[half]);
        }
    }
    totals
}

/// # Safety
/// As [`load_totals`].
#[inline(always)]
unsafe fn store_totals<S: Simd, const ROWS: usize>(s: S, totals: [[S::F; 2]; ROWS], out: Out) {
    for (row, totals) in totals.into_iter().enumerate() {
        // SAFETY: says the caller.
        unsafe {
            let out = out.values.add(row * out.stride);
            s.store(out, totals[0]);
            s.store(out.add(S::LANES), totals[1]);
        }
    }
}

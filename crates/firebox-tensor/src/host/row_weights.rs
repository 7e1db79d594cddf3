//! Weights in rows, as files and training have them, brought near a block at a time.

#![expect(
    unsafe_code,
    reason = "rows are read through pointers, a vector at a time"
)]

use std::ops::Range;

use bytemuck::Pod;
use half::{bf16, f16};

use super::dense_panel::{F32Panel, StridedPanel};
use super::float_panel::{BlockWeights, PanelCopy};
use super::simd::Simd;

/// The most lanes of a vector.
const MAX_LANES: usize = 16;

/// A number as a weight keeps it.
pub(crate) trait Stored: Pod + Send + Sync {
    /// As it is multiplied.
    fn widened(self) -> f32;

    /// A vector of them.
    ///
    /// # Safety
    /// `from` is good for `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F;
}

impl Stored for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load(from) }
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const bf16) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load_bf16(from.cast()) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f16) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load_f16(from.cast()) }
    }
}

/// `[in, out]`: a panel is two vectors of each row.
pub(crate) struct InputRows<'a, E> {
    pub(crate) values: &'a [E],
    pub(crate) n_out: usize,
}

impl<E: Stored> BlockWeights for InputRows<'_, E> {
    type Value = f32;

    #[inline(always)]
    unsafe fn block<S: Simd>(
        &self,
        s: S,
        index: usize,
        inputs: Range<usize>,
        copy: &mut PanelCopy,
    ) -> F32Panel {
        let (width, to) = (2 * S::LANES, copy.start::<f32>());
        let first = index * width;
        let n = width.min(self.n_out - first);
        for (i, k) in inputs.enumerate() {
            let row = &self.values[k * self.n_out + first..][..n];
            // SAFETY: there is room for two vectors of each input of a block.
            unsafe {
                let to = to.add(i * width);
                if n == width {
                    s.store(to, E::load(s, row.as_ptr()));
                    s.store(to.add(S::LANES), E::load(s, row.as_ptr().add(S::LANES)));
                } else {
                    for lane in 0..width {
                        *to.add(lane) = row.get(lane).map_or(0.0, |x| x.widened());
                    }
                }
            }
        }
        StridedPanel {
            values: to.cast_const(),
            stride: width,
        }
    }
}

/// `[out, in]`, PyTorch's layout: a panel is two vectors of rows, turned.
pub(crate) struct OutputRows<'a, E> {
    pub(crate) values: &'a [E],
    pub(crate) n_in: usize,
}

impl<E: Stored> BlockWeights for OutputRows<'_, E> {
    type Value = f32;

    #[inline(always)]
    unsafe fn block<S: Simd>(
        &self,
        s: S,
        index: usize,
        inputs: Range<usize>,
        copy: &mut PanelCopy,
    ) -> F32Panel {
        let (width, to) = (2 * S::LANES, copy.start::<f32>());
        let n_out = self.values.len() / self.n_in;
        for half in 0..2 {
            let first = (index * width + half * S::LANES).min(n_out);
            let rows = first..n_out.min(first + S::LANES);
            let rows = &self.values[rows.start * self.n_in..rows.end * self.n_in];
            // SAFETY: there is room for two vectors of each input of a block; these are one of them.
            unsafe {
                turn_widened(
                    s,
                    rows,
                    self.n_in,
                    inputs.clone(),
                    width,
                    to.add(half * S::LANES),
                )
            };
        }
        StridedPanel {
            values: to.cast_const(),
            stride: width,
        }
    }
}

/// Columns `columns` of at most `LANES` rows that are `stride` long, as vectors `width` apart. Lanes that
/// have no row are zero.
///
/// # Safety
/// `to` is good for a vector of each column.
#[inline(always)]
unsafe fn turn_widened<S: Simd, E: Stored>(
    s: S,
    rows: &[E],
    stride: usize,
    columns: Range<usize>,
    width: usize,
    to: *mut f32,
) {
    let mut block = [0.0_f32; MAX_LANES * MAX_LANES];
    let (n_rows, n) = (rows.len() / stride, columns.len());
    let mut k = 0;
    while k < n {
        let n_whole = S::LANES.min(n - k);
        for (row, block) in rows
            .chunks_exact(stride)
            .zip(block.chunks_exact_mut(S::LANES))
        {
            let row = &row[columns.start + k..][..n_whole];
            if n_whole == S::LANES {
                // SAFETY: a vector of the row, and of the block.
                unsafe { s.store(block.as_mut_ptr(), E::load(s, row.as_ptr())) };
            } else {
                for (to, x) in block.iter_mut().zip(row) {
                    *to = x.widened();
                }
            }
        }
        // SAFETY: the block is as many vectors; the output has one for each column.
        unsafe {
            if n_whole == S::LANES {
                s.turn(block.as_ptr(), S::LANES, S::LANES, to.add(k * width), width);
            } else {
                for column in 0..n_whole {
                    for lane in 0..S::LANES {
                        let x = if lane < n_rows {
                            block[lane * S::LANES + column]
                        } else {
                            0.0
                        };
                        *to.add((k + column) * width + lane) = x;
                    }
                }
            }
        }
        k += n_whole;
    }
}

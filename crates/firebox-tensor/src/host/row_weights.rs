//! Weights in rows, as files and training have them, brought near a block at a time.

#![expect(
    unsafe_code,
    reason = "rows are read through pointers, a vector at a time"
)]

use std::ops::Range;

use super::dense_panel::F32Panel;
use super::float_panel::{BlockWeights, PanelCopy};
use super::simd::Simd;
use super::stored::Stored;
use super::turn::turn_rows;

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
        copy.panel::<S, f32>()
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
        let first = index * width * self.n_in;
        let rows = &self.values[first..self.values.len().min(first + width * self.n_in)];
        // SAFETY: there is room for two vectors of each input of a block.
        unsafe {
            if rows.len() < width * self.n_in {
                to.write_bytes(0, inputs.len() * width);
            }
            turn_rows(s, rows, self.n_in, inputs, width, to);
        }
        copy.panel::<S, f32>()
    }
}

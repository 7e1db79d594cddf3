//! Products of integers: quantized rows times panels.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{BLOCK, QuantizedRows};
use super::float_tile::Out;
use super::gemm::{Product, TileTask, for_each_task, panel_width, with_panel};
use super::int_panel::IntCodes;
use super::int_tile::{self, IntLeft};
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::simd::{Kernel, Simd, dispatch};

/// Quantized rows times weights of integers.
pub(crate) fn int_matmul<C: IntCodes>(
    level: SimdLevel,
    x: &QuantizedRows,
    n_in: usize,
    blocks: &[u8],
    result: &Product,
) {
    for_each_task(level, result, |rows, panels| {
        let task = IntTask::<C> {
            left: IntLeft::new(x, n_in),
            panel_bytes: C::block_at(n_in / BLOCK, panel_width(level) / 2),
            blocks,
            rows,
            panels,
            result,
            codes: PhantomData,
        };
        dispatch(level, task);
    });
}

struct IntTask<'a, C> {
    left: IntLeft,
    panel_bytes: usize,
    blocks: &'a [u8],
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
    codes: PhantomData<C>,
}

/// All rows over one panel.
struct IntPanelTask<C> {
    left: IntLeft,
    panel: *const u8,
    codes: PhantomData<C>,
}

impl<S: Simd, C: IntCodes> TileTask<S> for IntPanelTask<C> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        // SAFETY: rows of the left factor and of the result, says the caller.
        unsafe {
            let left = self.left.at_row(rows.start);
            int_tile::tile_rows::<S, C>(s, rows.len(), left, self.panel, out, start);
        }
    }
}

impl<C: IntCodes> Kernel for IntTask<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for index in self.panels {
            let panel = &self.blocks[index * self.panel_bytes..][..self.panel_bytes];
            let task = IntPanelTask::<C> {
                left: self.left,
                panel: panel.as_ptr(),
                codes: PhantomData,
            };
            // SAFETY: this part of the result is this task's.
            unsafe {
                with_panel(
                    s,
                    self.result,
                    self.rows.clone(),
                    index,
                    self.result.start,
                    &task,
                );
            }
        }
    }
}

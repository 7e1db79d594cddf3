//! Products of bf16 pairs on tiles: AMX, 16 rows by 16 columns by 32 inputs in one instruction.
//!
//! Panels of pairs lie in memory as the right tile wants them: 16 pairs of inputs, each with a pair
//! for every column. Rows of pairs are the left tile. Two by two tiles of sums stay in the registers
//! while the depth goes by.
//!
//! Every output is summed over tiles of 32 inputs in order, and inside a tile as the instruction
//! does, wherever its row lies: a row has the same bits in any batch. The instruction rounds nothing
//! in between but flushes what is subnormal.
//!
//! Source: Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18.

#![expect(unsafe_code, reason = "tiles are loaded and stored through pointers")]

use std::arch::asm;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

use super::dense_panel::{PairPanels, StridedPanel};
use super::float_tile::Out;
use super::gemm::{Product, TileTask, for_each_task, with_panel};
use super::left_rows::LeftRows;
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::simd::{Kernel, Simd, dispatch};

/// Rows of a tile.
const ROWS: usize = 16;
/// Pairs of inputs of a tile.
const PAIRS: usize = 16;

thread_local! {
    /// Rows of a block, turned from columns.
    static TURNED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Whether the CPU has tiles of bf16 and bytes, and the system lets this process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_tiles() && is_permitted());
    *AVAILABLE
}

/// Of the CPU, and of the system: it saves the tiles when it changes threads.
fn has_tiles() -> bool {
    const TILES: u32 = 1 << 22 | 1 << 24 | 1 << 25; // bf16, tiles, bytes
    const SAVED: u64 = 1 << 17 | 1 << 18; // configuration, data
    if !is_x86_feature_detected!("xsave") || std::arch::x86_64::__cpuid(0).eax < 7 {
        return false;
    }
    let (low, high): (u32, u32);
    // SAFETY: `xgetbv` of register 0 exists where `xsave` is.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    let saved = u64::from(high) << 32 | u64::from(low);
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    features & TILES == TILES && saved & SAVED == SAVED
}

/// Linux gives tile registers to processes that ask.
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: the call changes nothing but what registers the process may use.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    cfg!(target_os = "linux") && result == 0
}

/// `y = x Wᵀ` or `y += x Wᵀ` of pairs, `n_pairs` deep.
pub(crate) fn pair_product<W: PairPanels>(
    left: LeftRows<'_, u32>,
    n_pairs: usize,
    weights: &W,
    result: &Product,
) {
    debug_assert!(is_available());
    for_each_task(SimdLevel::Amx, result, |rows, panels| {
        let task = Task {
            left,
            n_pairs,
            weights,
            rows,
            panels,
            result,
        };
        dispatch(SimdLevel::Amx, task);
    });
}

struct Task<'a, W> {
    left: LeftRows<'a, u32>,
    n_pairs: usize,
    weights: &'a W,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

impl<W: PairPanels> Kernel for Task<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut turned = TURNED.take();
        let left = match self.left {
            LeftRows::Rows(x) => x[self.rows.start * self.n_pairs..].as_ptr(),
            LeftRows::Columns(x) => {
                turn_rows(x, self.n_pairs, self.rows.clone(), &mut turned);
                turned.as_ptr()
            }
        };
        for panel in self.panels {
            let task = PanelTask {
                left,
                first_row: self.rows.start,
                n_pairs: self.n_pairs,
                panel: self.weights.pairs(panel, 2 * S::LANES),
            };
            // SAFETY: tasks have rows and panels of their own.
            unsafe {
                let (rows, start) = (self.rows.clone(), self.result.start);
                with_panel(s, self.result, rows, panel, start, &task);
            }
        }
        // SAFETY: the level has tiles. Threads are changed faster without their contents.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
        TURNED.set(turned);
    }
}

/// Columns `rows` of `x`, `[n_pairs, m]`, as rows, `[rows, n_pairs]`.
fn turn_rows(x: &[u32], n_pairs: usize, rows: Range<usize>, turned: &mut Vec<u32>) {
    let m = x.len() / n_pairs.max(1);
    turned.resize(rows.len() * n_pairs, 0);
    // A cache line of each: sixteen pairs by sixteen rows at a time.
    for first in (0..n_pairs).step_by(PAIRS) {
        for block in rows.clone().step_by(ROWS) {
            for pair in first..n_pairs.min(first + PAIRS) {
                let from = &x[pair * m..][block..rows.end.min(block + ROWS)];
                for (row, value) in (block - rows.start..).zip(from) {
                    turned[row * n_pairs + pair] = *value;
                }
            }
        }
    }
}

/// Rows over one panel.
struct PanelTask {
    /// Where row `first_row` begins; rows are `n_pairs` long.
    left: *const u32,
    first_row: usize,
    n_pairs: usize,
    panel: StridedPanel<u32>,
}

impl<S: Simd> TileTask<S> for PanelTask {
    #[inline(always)]
    unsafe fn tile(&self, _: S, rows: Range<usize>, out: Out, start: Start) {
        let mut row = rows.start;
        while row < rows.end {
            let n_rows = (2 * ROWS).min(rows.end - row);
            // SAFETY: these rows of the left factor and of the result, says the caller.
            unsafe {
                let left = self.left.add((row - self.first_row) * self.n_pairs);
                let values = out.values.add((row - rows.start) * out.stride);
                self.rows(n_rows, left, Out { values, ..out }, start);
            }
            row += n_rows;
        }
    }
}

impl PanelTask {
    /// Adds to up to 32 rows: whole tiles of the depth, and then what is left of it.
    ///
    /// # Safety
    /// `left` has the rows, `out` is good for them, two vectors wide.
    unsafe fn rows(&self, n_rows: usize, left: *const u32, out: Out, start: Start) {
        let (n_tiles, n_rest) = (self.n_pairs / PAIRS, self.n_pairs % PAIRS);
        // SAFETY: whole tiles of the depth first, the rest behind them.
        unsafe {
            if n_tiles > 0 {
                let right = self.panel.values;
                self.tiles([n_rows, PAIRS, n_tiles], [left, right], out, start);
            }
            if n_rest > 0 {
                let done = n_tiles * PAIRS;
                let right = self.panel.values.add(done * self.panel.stride);
                let start = if n_tiles > 0 {
                    Start::Accumulate
                } else {
                    start
                };
                self.tiles([n_rows, n_rest, 1], [left.add(done), right], out, start);
            }
        }
    }

    /// `n` times `pairs` pairs.
    ///
    /// # Safety
    /// As [`Self::rows`]; both factors are as deep.
    #[inline]
    unsafe fn tiles(
        &self,
        [n_rows, pairs, n]: [usize; 3],
        [left, right]: [*const u32; 2],
        out: Out,
        start: Start,
    ) {
        let adds = usize::from(start == Start::Accumulate);
        let upper = n_rows.min(ROWS);
        let config = TileConfig::new([upper, n_rows - upper], pairs);
        let (left_step, right_step) = (4 * self.n_pairs, 4 * self.panel.stride);
        let result_step = 4 * out.stride;
        // SAFETY: the level has tiles; every tile lies inside its factor, says the caller. Lower
        // tiles are touched only where there are rows for them.
        unsafe {
            if n_rows <= ROWS {
                asm!(
                    "ldtilecfg [{config}]", // Sums are zero from here on.
                    "test {adds}, {adds}",
                    "jz 2f",
                    "tileloadd tmm0, [{c} + {sc}]",
                    "tileloadd tmm1, [{c} + {sc} + 64]",
                    "2:",
                    "tileloadd tmm4, [{a} + {sa}]",
                    "tileloadd tmm6, [{b} + {sb}]",
                    "tileloadd tmm7, [{b} + {sb} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "add {a}, 64",
                    "add {b}, {b_step}",
                    "dec {n}",
                    "jnz 2b",
                    "tilestored [{c} + {sc}], tmm0",
                    "tilestored [{c} + {sc} + 64], tmm1",
                    config = in(reg) &config, adds = in(reg) adds,
                    c = in(reg) out.values,
                    sc = in(reg) result_step,
                    a = inout(reg) left => _, sa = in(reg) left_step,
                    b = inout(reg) right => _, sb = in(reg) right_step,
                    b_step = in(reg) PAIRS * right_step,
                    n = inout(reg) n => _,
                    out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            } else {
                asm!(
                    "ldtilecfg [{config}]",
                    "test {adds}, {adds}",
                    "jz 2f",
                    "tileloadd tmm0, [{c} + {sc}]",
                    "tileloadd tmm1, [{c} + {sc} + 64]",
                    "tileloadd tmm2, [{d} + {sc}]",
                    "tileloadd tmm3, [{d} + {sc} + 64]",
                    "2:",
                    "tileloadd tmm4, [{a} + {sa}]",
                    "tileloadd tmm6, [{b} + {sb}]",
                    "tileloadd tmm7, [{b} + {sb} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{e} + {sa}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a}, 64",
                    "add {e}, 64",
                    "add {b}, {b_step}",
                    "dec {n}",
                    "jnz 2b",
                    "tilestored [{c} + {sc}], tmm0",
                    "tilestored [{c} + {sc} + 64], tmm1",
                    "tilestored [{d} + {sc}], tmm2",
                    "tilestored [{d} + {sc} + 64], tmm3",
                    config = in(reg) &config, adds = in(reg) adds,
                    c = in(reg) out.values,
                    d = in(reg) out.values.add(ROWS * out.stride),
                    sc = in(reg) result_step,
                    a = inout(reg) left => _,
                    e = inout(reg) left.add(ROWS * self.n_pairs) => _,
                    sa = in(reg) left_step,
                    b = inout(reg) right => _, sb = in(reg) right_step,
                    b_step = in(reg) PAIRS * right_step,
                    n = inout(reg) n => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    }
}

/// Rows and bytes a row of each tile, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    n_rows: [u8; 16],
}

impl TileConfig {
    /// Sums in tiles 0 to 3, rows in 4 and 5, a panel's halves in 6 and 7.
    fn new([upper, lower]: [usize; 2], pairs: usize) -> Self {
        let (upper, lower, pairs) = (upper as u8, lower as u8, pairs as u8);
        let of = |n_rows: u8, n_bytes: u16| (n_rows, if n_rows == 0 { 0 } else { n_bytes });
        let depth = 4 * u16::from(pairs);
        let tiles = [
            of(upper, 64),
            of(upper, 64),
            of(lower, 64),
            of(lower, 64),
            of(upper, depth),
            of(lower, depth),
            of(pairs, 64),
            of(pairs, 64),
        ];
        let mut config = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            n_rows: [0; 16],
        };
        for (tile, (n_rows, n_bytes)) in tiles.into_iter().enumerate() {
            (config.n_rows[tile], config.row_bytes[tile]) = (n_rows, n_bytes);
        }
        config
    }
}

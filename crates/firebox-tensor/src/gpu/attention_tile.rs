//! Tiles of queries, keys and values in a cube's memory. Rows are one value longer than a head, so
//! that units which read one column of neighbouring rows read different banks.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

/// The sizes of a tile, known when a kernel is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    /// Rows; a cube has the square of it in units.
    pub(super) side: usize,
    /// Width of a head.
    pub(super) dim: usize,
}

impl Tile {
    /// Values in the cube's memory.
    pub(super) fn len(self) -> usize {
        self.side * (self.dim + 1)
    }

    /// Columns of one unit: every `side`-th.
    pub(super) fn n_columns(self) -> usize {
        self.dim.div_ceil(self.side)
    }
}

/// The rows of one head of one sequence.
#[derive(CubeType)]
pub(super) struct HeadRows {
    /// The sequence's first row, and the row after its last.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) n_heads: usize,
    pub(super) head: usize,
}

/// Copies rows of one head, from the sequence's row `first` on; zeros past its end.
#[cube]
pub(super) fn load_tile(
    x: &[f32],
    tile: &mut Shared<[f32]>,
    rows: &HeadRows,
    first: usize,
    #[comptime] sizes: Tile,
) {
    let mut i = UNIT_POS as usize;
    while i < comptime!(sizes.side * sizes.dim) {
        let column = i % sizes.dim;
        let row = i / sizes.dim;
        let source = rows.start + first + row;
        let mut value = 0.0f32;
        if source < rows.end {
            value = x[(source * rows.n_heads + rows.head) * sizes.dim + column];
        }
        tile[row * comptime!(sizes.dim + 1) + column] = value;
        i += comptime!(sizes.side * sizes.side);
    }
}

/// The product of row `r` of one tile and row `c` of another.
#[cube]
pub(super) fn tile_score(
    a: &Shared<[f32]>,
    b: &Shared<[f32]>,
    r: usize,
    c: usize,
    #[comptime] sizes: Tile,
) -> f32 {
    let width = comptime!(sizes.dim + 1);
    let mut sum = 0.0f32;
    for i in 0..sizes.dim {
        sum += a[r * width + i] * b[c * width + i];
    }
    sum
}

/// This unit's sums over the columns `c`, `c + side` and so on.
#[cube]
pub(super) fn no_sums(#[comptime] sizes: Tile) -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(sizes.n_columns()));
    for j in 0..comptime!(sizes.n_columns()) {
        sums[j] = 0.0;
    }
    sums
}

/// `sums = sums * kept + Σ weights[first + i * step] * row i of the tile`.
#[cube]
pub(super) fn add_rows(
    sums: &mut Array<f32>,
    kept: f32,
    weights: &Shared<[f32]>,
    first: usize,
    step: usize,
    tile: &Shared<[f32]>,
    c: usize,
    #[comptime] sizes: Tile,
) {
    for j in 0..comptime!(sizes.n_columns()) {
        let column = c + j * sizes.side;
        if column < sizes.dim {
            let mut added = 0.0f32;
            for i in 0..sizes.side {
                added += weights[first + i * step] * tile[i * comptime!(sizes.dim + 1) + column];
            }
            sums[j] = sums[j] * kept + added;
        }
    }
}

/// Writes the sums, times a factor, as the sequence's row `row` of a head.
#[cube]
pub(super) fn store_row(
    sums: &Array<f32>,
    factor: f32,
    x: &mut [f32],
    rows: &HeadRows,
    row: usize,
    c: usize,
    #[comptime] sizes: Tile,
) {
    if rows.start + row < rows.end {
        let at = ((rows.start + row) * rows.n_heads + rows.head) * sizes.dim;
        for j in 0..comptime!(sizes.n_columns()) {
            let column = c + j * sizes.side;
            if column < sizes.dim {
                x[at + column] = sums[j] * factor;
            }
        }
    }
}

/// The largest value of row `r` of a `[side, side]` tile.
#[cube]
pub(super) fn row_max(tile: &Shared<[f32]>, r: usize, #[comptime] sizes: Tile) -> f32 {
    let mut max = tile[r * sizes.side];
    for i in 1..sizes.side {
        max = max.max(tile[r * sizes.side + i]);
    }
    max
}

/// The sum of row `r` of a `[side, side]` tile.
#[cube]
pub(super) fn row_sum(tile: &Shared<[f32]>, r: usize, #[comptime] sizes: Tile) -> f32 {
    let mut sum = 0.0f32;
    for i in 0..sizes.side {
        sum += tile[r * sizes.side + i];
    }
    sum
}

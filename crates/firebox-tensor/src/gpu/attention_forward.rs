//! The forward pass: a cube takes a tile of queries of one head over all keys that they see.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::attention::Heads;
use super::attention_tile::{
    HeadRows, Tile, add_rows, load_tile, no_sums, row_max, row_sum, store_row, tile_score,
};
use super::cube::{cubes, empty, size};
use super::op::{GpuTensor, queue};

/// Queries and keys of a tile.
const SIDE: usize = 16;
/// Below every score. WGSL has no infinity to count on.
const HIDDEN: f32 = -1e30;

/// Attention, and the logarithm of each row's sum, `[batch * seq, n_heads]`.
pub(super) fn attend([q, k, v]: [&GpuTensor; 3], heads: Heads) -> [GpuTensor; 2] {
    let (batch, seq) = (q.shape[0], q.shape[1]);
    let sums_shape = Shape::new([batch * seq, heads.n_heads]);
    let outputs = [
        (q.shape.clone(), DType::F32),
        (sums_shape.clone(), DType::F32),
    ];
    let inputs = [q.clone(), k.clone(), v.clone()];
    queue("attention", inputs, outputs, move |[q, k, v]| {
        let out = empty(&q, q.meta.shape().clone(), DType::F32);
        let log_sums = empty(&q, sums_shape.clone(), DType::F32);
        let n_cubes = batch * heads.n_heads * seq.div_ceil(SIDE);
        attend_kernel::launch(
            &out.client,
            cubes(&q, n_cubes),
            CubeDim::new_1d(size(SIDE * SIDE)),
            q.into_buffer_arg(),
            k.into_buffer_arg(),
            v.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            log_sums.clone().into_buffer_arg(),
            size(batch),
            size(seq),
            size(heads.n_heads),
            size(heads.n_kv_heads),
            1.0 / (heads.head_dim as f32).sqrt(),
            Tile {
                side: SIDE,
                dim: heads.head_dim,
            },
        );
        [out, log_sums]
    })
}

#[cube(launch)]
fn attend_kernel(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    log_sums: &mut [f32],
    batch: u32,
    seq: u32,
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    #[comptime] sizes: Tile,
) {
    let (n, seq, n_heads) = (sizes.side, seq as usize, n_heads as usize);
    let n_blocks = seq.div_ceil(n);
    if CUBE_POS >= batch as usize * n_heads * n_blocks {
        terminate!();
    }
    let first_query = CUBE_POS % n_blocks * n;
    let head = CUBE_POS / n_blocks % n_heads;
    let start = CUBE_POS / n_blocks / n_heads * seq;
    let end = start + seq;
    let kv_head = head / (n_heads / n_kv_heads as usize);
    let queries = HeadRows {
        start,
        end,
        n_heads,
        head,
    };
    let keys = HeadRows {
        start,
        end,
        n_heads: n_kv_heads as usize,
        head: kv_head,
    };
    let (r, c) = (UNIT_POS as usize / n, UNIT_POS as usize % n);
    let query = first_query + r;

    let mut q_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut kv_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut p_tile = Shared::<[f32]>::new_slice(comptime!(sizes.side * sizes.side));
    load_tile(q, &mut q_tile, &queries, first_query, sizes);
    let mut sums = no_sums(sizes);
    let mut max = f32::new(HIDDEN);
    let mut sum = 0.0f32;
    let mut first_key = 0usize;
    while first_key < first_query + n {
        sync_cube(); // the last round's values are read
        load_tile(k, &mut kv_tile, &keys, first_key, sizes);
        sync_cube();
        let seen = first_key + c <= query;
        let score = tile_score(&q_tile, &kv_tile, r, c, sizes) * scale;
        p_tile[r * n + c] = if seen { score } else { HIDDEN };
        sync_cube();
        let new_max = max.max(row_max(&p_tile, r, sizes));
        let kept = (max - new_max).exp();
        let p = if seen {
            (score - new_max).exp()
        } else {
            0.0f32
        };
        max = new_max;
        sync_cube(); // the scores are read
        p_tile[r * n + c] = p;
        load_tile(v, &mut kv_tile, &keys, first_key, sizes);
        sync_cube();
        sum = sum * kept + row_sum(&p_tile, r, sizes);
        add_rows(&mut sums, kept, &p_tile, r * n, 1, &kv_tile, c, sizes);
        first_key += n;
    }
    store_row(&sums, 1.0 / sum, out, &queries, query, c, sizes);
    if query < seq && c == 0 {
        log_sums[(start + query) * n_heads + head] = max + sum.ln();
    }
}

//! The backward pass. Probabilities are computed anew from the forward pass's sums; a cube owns what
//! it writes, so that nothing is added atomically.
//!
//! With `P` the probabilities, `Δ = Σ out · grad` of a row: `dS = P (grad Vᵀ - Δ)`,
//! `dQ = dS K / √d`, `dK = dSᵀ Q / √d`, `dV = Pᵀ grad`.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::attention::{Heads, Saved};
use super::attention_tile::{HeadRows, Tile, add_rows, load_tile, no_sums, store_row, tile_score};
use super::cube::{UNITS, cubes, cubes_of_units, empty, size};
use super::op::{GpuTensor, queue};

/// Tiles of which four fit in 17 KiB.
fn tile(dim: usize) -> Tile {
    let side = if dim <= 64 { 16 } else { 8 };
    Tile { side, dim }
}

/// `Σ out · grad` of each row and head, `[batch * seq, n_heads]`.
pub(super) fn deltas(out: &GpuTensor, grad: &GpuTensor, heads: Heads) -> GpuTensor {
    let rows = out.shape[0] * out.shape[1];
    let shape = Shape::new([rows, heads.n_heads]);
    let outputs = [(shape.clone(), DType::F32)];
    let inputs = [out.clone(), grad.clone()];
    let run = move |[out, grad]: [_; 2]| {
        let deltas = empty(&out, shape.clone(), DType::F32);
        let n = rows * heads.n_heads;
        deltas_kernel::launch(
            &deltas.client,
            cubes_of_units(&out, n),
            CubeDim::new_1d(UNITS),
            out.into_buffer_arg(),
            grad.into_buffer_arg(),
            deltas.clone().into_buffer_arg(),
            size(n),
            size(heads.head_dim),
        );
        [deltas]
    };
    let [deltas] = queue("attention_deltas", inputs, outputs, run);
    deltas
}

/// The gradient of the rotated queries.
pub(super) fn d_q(saved: &Saved, grad: &GpuTensor, deltas: &GpuTensor, heads: Heads) -> GpuTensor {
    let (batch, seq) = (saved.q.shape[0], saved.q.shape[1]);
    let outputs = [(saved.q.shape.clone(), DType::F32)];
    let run = move |[q, k, v, log_sums, grad, deltas]: [_; 6]| {
        let d_q = empty(&q, q.meta.shape().clone(), DType::F32);
        let tile = tile(heads.head_dim);
        let n_cubes = batch * heads.n_heads * seq.div_ceil(tile.side);
        d_q_kernel::launch(
            &d_q.client,
            cubes(&q, n_cubes),
            CubeDim::new_1d(size(tile.side * tile.side)),
            q.into_buffer_arg(),
            k.into_buffer_arg(),
            v.into_buffer_arg(),
            log_sums.into_buffer_arg(),
            grad.into_buffer_arg(),
            deltas.into_buffer_arg(),
            d_q.clone().into_buffer_arg(),
            size(batch),
            size(seq),
            size(heads.n_heads),
            size(heads.n_kv_heads),
            1.0 / (heads.head_dim as f32).sqrt(),
            tile,
        );
        [d_q]
    };
    let [d_q] = queue("attention_d_q", inputs(saved, grad, deltas), outputs, run);
    d_q
}

/// The gradients of the rotated keys and of the values.
pub(super) fn d_k_and_d_v(
    saved: &Saved,
    grad: &GpuTensor,
    deltas: &GpuTensor,
    heads: Heads,
) -> [GpuTensor; 2] {
    let (batch, seq) = (saved.q.shape[0], saved.q.shape[1]);
    let outputs = [&saved.k, &saved.v].map(|x| (x.shape.clone(), DType::F32));
    let run = move |[q, k, v, log_sums, grad, deltas]: [_; 6]| {
        let d_k = empty(&k, k.meta.shape().clone(), DType::F32);
        let d_v = empty(&k, k.meta.shape().clone(), DType::F32);
        let tile = tile(heads.head_dim);
        let n_cubes = batch * heads.n_kv_heads * seq.div_ceil(tile.side);
        d_k_and_d_v_kernel::launch(
            &d_k.client,
            cubes(&k, n_cubes),
            CubeDim::new_1d(size(tile.side * tile.side)),
            q.into_buffer_arg(),
            k.into_buffer_arg(),
            v.into_buffer_arg(),
            log_sums.into_buffer_arg(),
            grad.into_buffer_arg(),
            deltas.into_buffer_arg(),
            d_k.clone().into_buffer_arg(),
            d_v.clone().into_buffer_arg(),
            size(batch),
            size(seq),
            size(heads.n_heads),
            size(heads.n_kv_heads),
            1.0 / (heads.head_dim as f32).sqrt(),
            tile,
        );
        [d_k, d_v]
    };
    queue(
        "attention_d_k_and_d_v",
        inputs(saved, grad, deltas),
        outputs,
        run,
    )
}

fn inputs(saved: &Saved, grad: &GpuTensor, deltas: &GpuTensor) -> [GpuTensor; 6] {
    let Saved {
        q, k, v, log_sums, ..
    } = saved;
    [q, k, v, log_sums, grad, deltas].map(Clone::clone)
}

#[cube(launch)]
fn deltas_kernel(out: &[f32], grad: &[f32], deltas: &mut [f32], n: u32, dim: u32) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let start = ABSOLUTE_POS * dim as usize;
    let mut sum = 0.0f32;
    let mut i = start;
    while i < start + dim as usize {
        sum += out[i] * grad[i];
        i += 1;
    }
    deltas[ABSOLUTE_POS] = sum;
}

/// A cube takes a tile of queries of one head over all keys that they see.
#[cube(launch)]
fn d_q_kernel(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    log_sums: &[f32],
    grad: &[f32],
    deltas: &[f32],
    d_q: &mut [f32],
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
    let mut g_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut k_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut v_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut s_tile = Shared::<[f32]>::new_slice(comptime!(sizes.side * sizes.side));
    load_tile(q, &mut q_tile, &queries, first_query, sizes);
    load_tile(grad, &mut g_tile, &queries, first_query, sizes);
    let mut sums = no_sums(sizes);
    let mut first_key = 0usize;
    while first_key < first_query + n {
        sync_cube(); // the last round's tiles are read
        load_tile(k, &mut k_tile, &keys, first_key, sizes);
        load_tile(v, &mut v_tile, &keys, first_key, sizes);
        sync_cube();
        let mut d_score = 0.0f32;
        if first_key + c <= query && query < seq {
            let at = (start + query) * n_heads + head;
            let p = (tile_score(&q_tile, &k_tile, r, c, sizes) * scale - log_sums[at]).exp();
            d_score = p * (tile_score(&g_tile, &v_tile, r, c, sizes) - deltas[at]);
        }
        s_tile[r * n + c] = d_score;
        sync_cube();
        add_rows(&mut sums, 1.0, &s_tile, r * n, 1, &k_tile, c, sizes);
        first_key += n;
    }
    store_row(&sums, scale, d_q, &queries, query, c, sizes);
}

/// A cube takes a tile of keys of one head over all queries that see them, of every head of the
/// group.
#[cube(launch)]
fn d_k_and_d_v_kernel(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    log_sums: &[f32],
    grad: &[f32],
    deltas: &[f32],
    d_k: &mut [f32],
    d_v: &mut [f32],
    batch: u32,
    seq: u32,
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    #[comptime] sizes: Tile,
) {
    let (n, seq, n_heads) = (sizes.side, seq as usize, n_heads as usize);
    let (n_kv_heads, n_blocks) = (n_kv_heads as usize, seq.div_ceil(n));
    if CUBE_POS >= batch as usize * n_kv_heads * n_blocks {
        terminate!();
    }
    let first_key = CUBE_POS % n_blocks * n;
    let kv_head = CUBE_POS / n_blocks % n_kv_heads;
    let start = CUBE_POS / n_blocks / n_kv_heads * seq;
    let end = start + seq;
    let group = n_heads / n_kv_heads;
    let keys = HeadRows {
        start,
        end,
        n_heads: n_kv_heads,
        head: kv_head,
    };
    let (r, c) = (UNIT_POS as usize / n, UNIT_POS as usize % n);

    let mut q_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut g_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut k_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut v_tile = Shared::<[f32]>::new_slice(comptime!(sizes.len()));
    let mut p_tile = Shared::<[f32]>::new_slice(comptime!(sizes.side * sizes.side));
    let mut s_tile = Shared::<[f32]>::new_slice(comptime!(sizes.side * sizes.side));
    load_tile(k, &mut k_tile, &keys, first_key, sizes);
    load_tile(v, &mut v_tile, &keys, first_key, sizes);
    let mut k_sums = no_sums(sizes);
    let mut v_sums = no_sums(sizes);
    // All blocks of queries from the keys' own on, of one head of the group after the other.
    let blocks_of_head = n_blocks - first_key / n;
    let mut round = 0usize;
    while round < group * blocks_of_head {
        let head = kv_head * group + round / blocks_of_head;
        let first_query = first_key + round % blocks_of_head * n;
        let queries = HeadRows {
            start,
            end,
            n_heads,
            head,
        };
        sync_cube(); // the last round's tiles are read
        load_tile(q, &mut q_tile, &queries, first_query, sizes);
        load_tile(grad, &mut g_tile, &queries, first_query, sizes);
        sync_cube();
        let query = first_query + r;
        let mut p = 0.0f32;
        let mut d_score = 0.0f32;
        if first_key + c <= query && query < seq {
            let at = (start + query) * n_heads + head;
            p = (tile_score(&q_tile, &k_tile, r, c, sizes) * scale - log_sums[at]).exp();
            d_score = p * (tile_score(&g_tile, &v_tile, r, c, sizes) - deltas[at]);
        }
        p_tile[r * n + c] = p;
        s_tile[r * n + c] = d_score;
        sync_cube();
        // In the sums `r` is a key.
        add_rows(&mut v_sums, 1.0, &p_tile, r, n, &g_tile, c, sizes);
        add_rows(&mut k_sums, 1.0, &s_tile, r, n, &q_tile, c, sizes);
        round += 1;
    }
    store_row(&k_sums, scale, d_k, &keys, first_key + r, c, sizes);
    store_row(&v_sums, 1.0, d_v, &keys, first_key + r, c, sizes);
}

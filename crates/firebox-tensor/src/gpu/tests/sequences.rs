//! Rotation and attention.

use std::sync::Arc;

use burn::tensor::{Bool, Int, activation};

use super::*;
use crate::host::RotaryTable;
use crate::kernels::RotaryAttention;

fn frequencies(head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| 0.7_f64.powi(i as i32)).collect()
}

fn table(head_dim: usize, seq: usize) -> Arc<RotaryTable> {
    let mut table = RotaryTable::new(&frequencies(head_dim));
    table.reach(seq);
    Arc::new(table)
}

/// Batch, positions, key heads, queries of one, width of a head: one of each, primes, tiles of 16
/// and of 8 and their neighbours, heads that are no multiple of a tile.
const SHAPES: [[usize; 5]; 9] = [
    [1, 1, 1, 1, 2],
    [2, 3, 1, 1, 16],
    [1, 16, 2, 2, 16],
    [2, 17, 1, 3, 30],
    [1, 47, 3, 1, 64],
    [1, 33, 1, 9, 64],
    [2, 64, 2, 1, 34],
    [1, 25, 2, 2, 128],
    [1, 131, 1, 2, 66],
];

/// The same by ordinary operations.
fn attention_reference(
    [q, k, v]: [Tensor<3>; 3],
    n_heads: usize,
    n_kv_heads: usize,
    frequencies: &[f64],
) -> Tensor<3> {
    let [batch, seq, width] = q.dims();
    let head_dim = width / n_heads;
    let device = q.device();
    let split = |x: Tensor<3>, n: usize| x.reshape([batch, seq, n, head_dim]).swap_dims(1, 2);
    let angles = |f: fn(f32) -> f32| {
        let row = |position: usize| {
            let half: Vec<f32> = frequencies
                .iter()
                .map(|w| f(position as f32 * *w as f32))
                .collect();
            [half.clone(), half].concat()
        };
        let all: Vec<f32> = (0..seq).flat_map(row).collect();
        Tensor::<1>::from_floats(all.as_slice(), &device).reshape([1, 1, seq, head_dim])
    };
    let (cos, sin) = (angles(f32::cos), angles(f32::sin));
    let rotate = |x: Tensor<4>| {
        let half = head_dim / 2;
        let swapped = Tensor::cat(
            vec![
                x.clone().narrow(3, half, half).neg(),
                x.clone().narrow(3, 0, half),
            ],
            3,
        );
        x * cos.clone() + swapped * sin.clone()
    };
    let repeat = |x: Tensor<4>| {
        let group = n_heads / n_kv_heads;
        let shape = [batch, n_kv_heads, group, seq, head_dim];
        x.unsqueeze_dim::<5>(2)
            .expand(shape)
            .reshape([batch, n_heads, seq, head_dim])
    };
    let (q, k) = (
        rotate(split(q, n_heads)),
        repeat(rotate(split(k, n_kv_heads))),
    );
    let scores = q
        .matmul(k.swap_dims(2, 3))
        .div_scalar((head_dim as f64).sqrt());
    let at = Tensor::<1, Int>::arange(0..seq as i64, &device);
    let keys = at.clone().unsqueeze_dim::<2>(0).expand([seq, seq]);
    let mask: Tensor<2, Bool> = keys.greater(at.unsqueeze_dim::<2>(1).expand([seq, seq]));
    let mask = mask.unsqueeze::<4>().expand([batch, n_heads, seq, seq]);
    let p = activation::softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3);
    let out = p.matmul(repeat(split(v, n_kv_heads)));
    out.swap_dims(1, 2).reshape([batch, seq, width])
}

fn attention(n_heads: usize, n_kv_heads: usize, table: &Arc<RotaryTable>) -> RotaryAttention {
    RotaryAttention {
        n_heads,
        n_kv_heads,
        table: Arc::clone(table),
        cu_seqlens: None,
        window: None,
    }
}

// Sums of some hundred terms in another order, and an exponential that WGSL lets be off by some
// units of 1e-7 times its argument.
#[test]
fn attention_and_its_gradients_match_ordinary_operations() {
    for [batch, seq, n_kv_heads, group, head_dim] in SHAPES {
        let n_heads = n_kv_heads * group;
        let table = table(head_dim, seq + 3);
        let q = normal([batch, seq, n_heads * head_dim]);
        let kv = || normal([batch, seq, n_kv_heads * head_dim]);
        check_op(
            |[q, k, v]| {
                kernels::rotary_attention([&q, &k, &v], &attention(n_heads, n_kv_heads, &table))
                    .expect("a kernel on the GPU and on the CPU")
            },
            |x| attention_reference(x, n_heads, n_kv_heads, &frequencies(head_dim)),
            [q, kv(), kv()],
            2e-5,
        );
    }
}

#[test]
fn a_later_token_changes_nothing_before_it() {
    let (n_heads, head_dim, seq) = (2, 16, 37);
    let table = table(head_dim, seq);
    let attend = |x: &Tensor<3>| {
        kernels::rotary_attention([x, x, x], &attention(n_heads, n_heads, &table))
            .expect("a kernel")
    };
    let x = normal([1, seq, n_heads * head_dim]);
    let changed = Tensor::cat(
        vec![x.clone().narrow(1, 0, 20), normal([1, seq - 20, 32])],
        1,
    );
    let (a, b) = (attend(&x), attend(&changed));
    check(
        "before",
        &a.clone().narrow(1, 0, 20),
        &b.clone().narrow(1, 0, 20),
        0.0,
    );
    let after = (a - b).narrow(1, 20, seq - 20).abs().max();
    assert!(after.into_scalar::<f32>() > 0.01, "and something after it");
}

#[test]
fn large_scores_stay_finite() {
    let (head_dim, seq) = (16, 40);
    let x = normal([1, seq, head_dim]).mul_scalar(100.0);
    check_op(
        |[q, k, v]| {
            kernels::rotary_attention([&q, &k, &v], &attention(1, 1, &table(head_dim, seq)))
                .expect("a kernel")
        },
        |x| attention_reference(x, 1, 1, &frequencies(head_dim)),
        [x.clone(), x, normal([1, seq, head_dim])],
        // Scores of some ten thousand are known to some thousandths in f32, in any order.
        2e-2,
    );
}

#[test]
fn heads_wider_than_a_tile_can_hold_are_left_to_ordinary_operations() {
    let x = normal([1, 2, 130]);
    let table = table(130, 2);
    let attend =
        |attention: &RotaryAttention| crate::gpu::rotary_attention([&x, &x, &x], attention);
    assert!(attend(&attention(1, 1, &table)).is_none());
}

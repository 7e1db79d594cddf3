//! Rotary attention against ordinary operations with a mask, forward and backward.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, TensorData, activation};
use proptest::prelude::*;

use super::super::{RotaryAttention, rotary_attention};
use super::{difference, normal, pull};
use crate::host::{RotaryTable, test_turn};

/// Sizes of a call, its documents, and the frequencies of its rotation.
#[derive(Debug)]
struct Case {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    batch: usize,
    seq: usize,
    cu_seqlens: Vec<usize>,
    window: Option<usize>,
}

impl Case {
    fn frequencies(&self) -> Vec<f64> {
        (0..self.head_dim / 2)
            .map(|i| 0.7_f64.powi(i as i32))
            .collect()
    }

    /// Document and position of each row of the batch.
    fn places(&self) -> Vec<(usize, usize)> {
        let documents = self.cu_seqlens.windows(2).enumerate();
        documents
            .flat_map(|(i, ends)| (0..ends[1] - ends[0]).map(move |position| (i, position)))
            .collect()
    }

    fn inputs(&self) -> [Tensor<3>; 3] {
        let of = |n: usize| normal([self.batch, self.seq, n * self.head_dim]);
        [of(self.n_heads), of(self.n_kv_heads), of(self.n_kv_heads)]
    }

    fn fused(&self, [q, k, v]: [Tensor<3>; 3]) -> Tensor<3> {
        let mut table = RotaryTable::new(&self.frequencies());
        table.reach(self.seq);
        let attention = RotaryAttention {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            table: Arc::new(table),
            cu_seqlens: Some(Arc::new(self.cu_seqlens.clone())),
            window: self.window,
        };
        rotary_attention([&q, &k, &v], &attention).expect("on the CPU")
    }

    /// True where a query must not see a key, `[batch, 1, seq, seq]`.
    fn mask(&self) -> Tensor<4, Bool> {
        let places = self.places();
        let mut hidden = Vec::new();
        for rows in places.chunks_exact(self.seq) {
            let window = self.window.unwrap_or(self.seq);
            for (document, query) in rows {
                hidden.extend(rows.iter().map(|(other, key)| {
                    other != document || key > query || key + window <= *query
                }));
            }
        }
        let shape = [self.batch, 1, self.seq, self.seq];
        Tensor::from_data(
            TensorData::new(hidden, shape),
            &burn::tensor::Device::flex(),
        )
    }

    /// Turns heads `[batch, heads, seq, head_dim]` by their positions.
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let (half, frequencies) = (self.head_dim / 2, self.frequencies());
        let angles = |f: fn(f32) -> f32| {
            let row = |(_, position): &(usize, usize)| {
                let angle = |w: &f64| f(*position as f32 * *w as f32);
                let half: Vec<f32> = frequencies.iter().map(angle).collect();
                [half.clone(), half].concat()
            };
            let all: Vec<f32> = self.places().iter().flat_map(row).collect();
            let shape = [self.batch, 1, self.seq, self.head_dim];
            Tensor::<1>::from_floats(all.as_slice(), &x.device()).reshape(shape)
        };
        let (first, second) = (
            x.clone().narrow(3, 0, half),
            x.clone().narrow(3, half, half),
        );
        let swapped = Tensor::cat(vec![second.neg(), first], 3);
        let (cos, sin) = (angles(f32::cos), angles(f32::sin));
        x * cos + swapped * sin
    }

    /// Rotation and attention by ordinary operations.
    fn reference(&self, [q, k, v]: [Tensor<3>; 3]) -> Tensor<3> {
        let &Self {
            batch,
            seq,
            head_dim,
            n_heads,
            n_kv_heads,
            ..
        } = self;
        let split = |x: Tensor<3>, n: usize| x.reshape([batch, seq, n, head_dim]).swap_dims(1, 2);
        let repeat = |x: Tensor<4>| {
            let shape = [batch, n_kv_heads, n_heads / n_kv_heads, seq, head_dim];
            let all = x.unsqueeze_dim::<5>(2).expand(shape);
            all.reshape([batch, n_heads, seq, head_dim])
        };
        let q = self.rotate(split(q, n_heads));
        let k = repeat(self.rotate(split(k, n_kv_heads)));
        let scores = q
            .matmul(k.swap_dims(2, 3))
            .div_scalar((head_dim as f64).sqrt());
        let mask = self.mask().expand([batch, n_heads, seq, seq]);
        let p = activation::softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3);
        let out = p.matmul(repeat(split(v, n_kv_heads)));
        out.swap_dims(1, 2)
            .reshape([batch, seq, n_heads * head_dim])
    }
}

/// Sequences of up to 150 tokens, cut into documents at any places.
fn cases() -> impl Strategy<Value = Case> {
    let head_dims = prop::sample::select(vec![2_usize, 16, 30, 64]);
    let sizes = (1_usize..3, 1_usize..150, 1_usize..3, 1_usize..4, head_dims);
    let cuts = prop::collection::vec(0_usize..300, 0..5);
    let windows = prop::option::of(1_usize..150);
    (sizes, cuts, windows).prop_map(
        |((batch, seq, n_kv_heads, group, head_dim), cuts, window)| {
            let rows = batch * seq;
            let mut cu_seqlens: Vec<usize> = (0..=batch).map(|i| i * seq).collect();
            cu_seqlens.extend(cuts.iter().map(|cut| cut % rows));
            cu_seqlens.sort_unstable();
            cu_seqlens.dedup();
            Case {
                n_heads: n_kv_heads * group,
                n_kv_heads,
                head_dim,
                batch,
                seq,
                cu_seqlens,
                window,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // Sums of up to some hundred terms in another order: some units of 1e-7 a term.
    #[test]
    fn attention_matches_ordinary_operations(case in cases()) {
        let _turn = test_turn();
        let (inputs, grad) = (case.inputs(), normal([case.batch, case.seq, case.n_heads * case.head_dim]));
        let plain = pull(|x| case.reference(x), &inputs, &grad);
        let fused = pull(|x| case.fused(x), &inputs, &grad);
        prop_assert!(difference(fused.0, plain.0) < 1e-5);
        // Of the queries' and keys' gradients little is left where one key has all the weight: what
        // cancels is as large as the values' gradient.
        let size = plain.1.each_ref().map(|x| x.clone().abs().max().into_scalar::<f32>());
        let size = size.into_iter().fold(0.0, f32::max);
        for (fused, plain) in fused.1.into_iter().zip(plain.1) {
            let error = (fused - plain).abs().max().into_scalar::<f32>();
            prop_assert!(error < 1e-5 * size, "{error} of {size}");
        }
    }

    #[test]
    fn a_packed_document_has_the_bits_that_it_has_alone(case in cases()) {
        let _turn = test_turn();
        let (inputs, grad) = (case.inputs(), normal([case.batch, case.seq, case.n_heads * case.head_dim]));
        let packed = pull(|x| case.fused(x), &inputs, &grad);
        for ends in case.cu_seqlens.windows(2) {
            let seq = ends[1] - ends[0];
            let rows = |x: &Tensor<3>| {
                let [batch, seq_all, width] = x.dims();
                x.clone().reshape([1, batch * seq_all, width]).narrow(1, ends[0], seq)
            };
            let alone = Case { batch: 1, seq, cu_seqlens: vec![0, seq], ..case };
            let alone = pull(|x| alone.fused(x), &inputs.each_ref().map(rows), &rows(&grad));
            prop_assert!(difference(rows(&packed.0), alone.0) == 0.0);
            for (packed, alone) in packed.1.iter().zip(alone.1) {
                prop_assert!(difference(rows(packed), alone) == 0.0);
            }
        }
    }
}

#[test]
#[should_panic(expected = "documents [0, 7] of 2 sequences")]
fn documents_that_are_not_those_of_the_batch_are_refused() {
    let case = Case {
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 2,
        batch: 2,
        seq: 4,
        cu_seqlens: vec![0, 7],
        window: None,
    };
    case.fused(case.inputs());
}

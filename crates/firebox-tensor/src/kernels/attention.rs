//! Rotary causal attention over whole sequences, for training.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::host::RotaryTable;

/// Rotates queries and keys and attends causally, each query over the keys up to its own:
/// `softmax(Q Kᵀ / sqrt(head_dim)) V`. Neither the scores nor repeated keys are ever held, forward
/// or backward. `None` where there is no kernel for the tensors' device.
///
/// Source: Dao et al. (2022), <https://arxiv.org/abs/2205.14135>; Su et al. (2021),
/// <https://arxiv.org/abs/2104.09864>; Ainslie et al. (2023), <https://arxiv.org/abs/2305.13245>.
///
/// # Shapes
/// `q` and the result `[batch, seq, heads * head_dim]`, `k` and `v`
/// `[batch, seq, kv_heads * head_dim]`; the table reaches position `seq - 1`.
pub fn rotary_attention(
    [q, k, v]: [&Tensor<3>; 3],
    n_heads: usize,
    n_kv_heads: usize,
    table: &Arc<RotaryTable>,
) -> Option<Tensor<3>> {
    #[cfg(feature = "cpu")]
    return fused::rotary_attention([q, k, v], n_heads, n_kv_heads, table);
    #[cfg(not(feature = "cpu"))]
    {
        let _ = (q, k, v, n_heads, n_kv_heads, table);
        None
    }
}

#[cfg(feature = "cpu")]
mod fused {
    use std::sync::Arc;

    use burn::backend::flex::FlexTensor;
    use burn::tensor::Tensor;

    use super::super::flex_op::{FlexOp, Input, apply, shaped, values};
    use crate::host::{
        AttentionGradient, AttentionShape, KvPage, RotaryTable, Segment, SimdLevel, attend_and_sum,
        attend_backward, rotate, rotate_back,
    };

    #[derive(Debug, Clone)]
    struct RotaryAttention {
        shape: AttentionShape,
        /// Position of each row of the batch.
        positions: Arc<Vec<usize>>,
        seq: usize,
        table: Arc<RotaryTable>,
    }

    /// Rotated queries and keys, and the forward pass's results.
    #[derive(Debug, Clone)]
    pub(super) struct Saved {
        queries: Arc<Vec<f32>>,
        keys: Arc<Vec<f32>>,
        values: FlexTensor,
        out: FlexTensor,
        log_sums: Arc<Vec<f32>>,
    }

    pub(super) fn rotary_attention(
        [q, k, v]: [&Tensor<3>; 3],
        n_heads: usize,
        n_kv_heads: usize,
        table: &Arc<RotaryTable>,
    ) -> Option<Tensor<3>> {
        let [batch, seq, width] = q.dims();
        let autodiff = q.is_autodiff() || k.is_autodiff() || v.is_autodiff();
        let op = RotaryAttention {
            shape: AttentionShape::new(n_heads, n_kv_heads, width / n_heads),
            positions: Arc::new((0..batch * seq).map(|row| row % seq).collect()),
            seq,
            table: Arc::clone(table),
        };
        apply(op, [q, k, v].map(|x| Input::new(x, autodiff)))
    }

    impl RotaryAttention {
        /// A rotated copy of rows of `n_heads` heads.
        fn rotated(&self, x: &FlexTensor, n_heads: usize) -> Vec<f32> {
            let mut x = values(x).to_vec();
            let stride = n_heads * self.shape.head_dim;
            rotate(
                SimdLevel::current(),
                &mut x,
                stride,
                n_heads,
                &self.table,
                &self.positions,
            );
            x
        }

        /// Each sequence's keys and values in pages.
        fn pages(&self, keys: &[f32], values: &[f32]) -> Vec<Vec<KvPage>> {
            let width = self.shape.n_kv_heads * self.shape.head_dim;
            let sequences = keys.chunks_exact(self.seq * width);
            let sequences = sequences.zip(values.chunks_exact(self.seq * width));
            let fill = |(keys, values): (&[f32], &[f32])| {
                let n_pages = self.seq.div_ceil(AttentionShape::PAGE_TOKENS);
                let mut pages: Vec<_> = (0..n_pages).map(|_| KvPage::new(&self.shape)).collect();
                let tokens = keys.chunks_exact(width).zip(values.chunks_exact(width));
                for (token, (keys, values)) in tokens.enumerate() {
                    let place = token % AttentionShape::PAGE_TOKENS;
                    let page = &mut pages[token / AttentionShape::PAGE_TOKENS];
                    page.write(&self.shape, place, keys, values);
                }
                pages
            };
            sequences.map(fill).collect()
        }
    }

    impl FlexOp<3> for RotaryAttention {
        type Saved = Saved;

        fn forward(&self, [q, k, v]: [&FlexTensor; 3]) -> (FlexTensor, Saved) {
            let AttentionShape {
                n_heads,
                n_kv_heads,
                head_dim,
                ..
            } = self.shape;
            let (queries, keys) = (self.rotated(q, n_heads), self.rotated(k, n_kv_heads));
            let pages = self.pages(&keys, values(v));
            let segments: Vec<_> = pages
                .iter()
                .enumerate()
                .map(|(i, pages)| Segment {
                    rows: i * self.seq..(i + 1) * self.seq,
                    n_past: 0,
                    pages,
                })
                .collect();
            let mut out = vec![0.0; queries.len()];
            let mut log_sums = vec![0.0; self.positions.len() * n_heads];
            let stride = n_heads * head_dim;
            let sums = Some(&mut log_sums[..]);
            attend_and_sum(&self.shape, &queries, stride, &segments, &mut out, sums);
            let out = shaped(out, q);
            let saved = Saved {
                queries: Arc::new(queries),
                keys: Arc::new(keys),
                values: v.clone(),
                out: out.clone(),
                log_sums: Arc::new(log_sums),
            };
            (out, saved)
        }

        fn backward(
            &self,
            saved: Saved,
            grad: &FlexTensor,
            _: [bool; 3],
        ) -> [Option<FlexTensor>; 3] {
            let gradient = AttentionGradient {
                shape: self.shape,
                seq: self.seq,
                queries: &saved.queries,
                keys: &saved.keys,
                values: values(&saved.values),
                out: values(&saved.out),
                d_out: values(grad),
                log_sums: &saved.log_sums,
            };
            let mut d_q = vec![0.0; saved.queries.len()];
            let mut d_k = vec![0.0; saved.keys.len()];
            let mut d_v = vec![0.0; saved.keys.len()];
            attend_backward(&gradient, &mut d_q, &mut d_k, &mut d_v);
            let turned = [
                (&mut d_q, self.shape.n_heads),
                (&mut d_k, self.shape.n_kv_heads),
            ];
            for (d, n_heads) in turned {
                let stride = n_heads * self.shape.head_dim;
                let level = SimdLevel::current();
                rotate_back(level, d, stride, n_heads, &self.table, &self.positions);
            }
            [
                Some(shaped(d_q, &saved.out)),
                Some(shaped(d_k, &saved.values)),
                Some(shaped(d_v, &saved.values)),
            ]
        }
    }
}

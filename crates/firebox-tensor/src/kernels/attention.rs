//! Rotary causal attention over whole sequences, for training.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::host::RotaryTable;

/// What rotary attention needs beside its tensors.
#[derive(Debug, Clone)]
pub struct RotaryAttention {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Angles up to the last position.
    pub table: Arc<RotaryTable>,
    /// Documents packed into the rows of the batch, laid end to end: the row where each begins, and
    /// the end of all, `[0, …, batch * seq]`. None reaches over the end of a sequence. Each attends
    /// only within itself, from position 0 on. `None`: a sequence is a document.
    ///
    /// Source: FlashAttention's `cu_seqlens`, Dao (2023), <https://arxiv.org/abs/2307.08691>.
    pub cu_seqlens: Option<Arc<Vec<usize>>>,
    /// How many keys a query sees, its own and those before it; `None` for all.
    ///
    /// Source: Jiang et al. (2023), section 2, <https://arxiv.org/abs/2310.06825>.
    pub window: Option<usize>,
}

/// Rotates queries and keys and attends causally, each query over the keys up to its own:
/// `softmax(Q Kᵀ / sqrt(head_dim)) V`. Neither the scores nor repeated keys are ever held, forward
/// or backward. `None` where there is no kernel for the tensors' device.
///
/// A document has the same bits wherever it is packed.
///
/// Source: Dao et al. (2022), <https://arxiv.org/abs/2205.14135>; Su et al. (2021),
/// <https://arxiv.org/abs/2104.09864>; Ainslie et al. (2023), <https://arxiv.org/abs/2305.13245>.
///
/// # Shapes
/// `q` and the result `[batch, seq, heads * head_dim]`, `k` and `v`
/// `[batch, seq, kv_heads * head_dim]`.
///
/// # Panics
/// When the documents are not those of the batch, the table ends before one of them, or the window
/// is zero.
pub fn rotary_attention(
    [q, k, v]: [&Tensor<3>; 3],
    attention: &RotaryAttention,
) -> Option<Tensor<3>> {
    if let Some(cu_seqlens) = &attention.cu_seqlens {
        let [batch, seq, _] = q.dims();
        check_documents(cu_seqlens, batch, seq);
    }
    #[cfg(feature = "cpu")]
    if let Some(y) = fused::rotary_attention([q, k, v], attention) {
        return Some(y);
    }
    #[cfg(feature = "gpu")]
    if let Some(y) = crate::gpu::rotary_attention([q, k, v], attention) {
        return Some(y);
    }
    let _ = (q, k, v, attention); // used in builds that have a kernel
    None
}

fn check_documents(cu_seqlens: &[usize], batch: usize, seq: usize) {
    let in_order = cu_seqlens.windows(2).all(|ends| ends[0] < ends[1]);
    let whole = cu_seqlens.first() == Some(&0) && cu_seqlens.last() == Some(&(batch * seq));
    let all_rows = (1..batch).all(|i| cu_seqlens.binary_search(&(i * seq)).is_ok());
    assert!(
        in_order && whole && all_rows,
        "documents {cu_seqlens:?} of {batch} sequences of {seq} tokens"
    );
}

#[cfg(feature = "cpu")]
mod fused {
    use std::ops::Range;
    use std::sync::Arc;

    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use super::super::flex_op::{shaped, values};
    use super::super::fused_op::{FusedOp, Input, apply};
    use super::RotaryAttention;
    use crate::host::{
        self, AttentionGradient, AttentionShape, KvPage, RotaryTable, Segment, SimdLevel,
        attend_and_sum, attend_backward, rotate, rotate_back,
    };

    #[derive(Debug, Clone)]
    struct Fused {
        shape: AttentionShape,
        /// Position of each row of the batch.
        positions: Arc<Vec<usize>>,
        /// Where each document begins, and the end of the last.
        cu_seqlens: Arc<Vec<usize>>,
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
        attention: &RotaryAttention,
    ) -> Option<Tensor<3>> {
        let [batch, seq, width] = q.dims();
        let autodiff = q.is_autodiff() || k.is_autodiff() || v.is_autodiff();
        let (n_heads, n_kv_heads) = (attention.n_heads, attention.n_kv_heads);
        let cu_seqlens = match &attention.cu_seqlens {
            Some(cu_seqlens) => Arc::clone(cu_seqlens),
            None => Arc::new((0..=batch).map(|i| i * seq).collect()),
        };
        let positions = cu_seqlens.windows(2).flat_map(|ends| 0..ends[1] - ends[0]);
        let op = Fused {
            shape: AttentionShape::new(n_heads, n_kv_heads, width / n_heads)
                .with_window(attention.window),
            positions: Arc::new(positions.collect()),
            cu_seqlens,
            table: Arc::clone(&attention.table),
        };
        apply(op, [q, k, v].map(|x| Input::new(x, autodiff)))
    }

    impl Fused {
        /// A rotated copy of rows of `n_heads` heads.
        fn rotated(&self, x: &FlexTensor, n_heads: usize) -> Vec<f32> {
            let mut x = host::copied(values(x));
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

        /// Each document's rows, and its keys and values in pages.
        fn documents(&self, keys: &[f32], values: &[f32]) -> Vec<(Range<usize>, Vec<KvPage>)> {
            let width = self.shape.n_kv_heads * self.shape.head_dim;
            let fill = |rows: Range<usize>| {
                let mut page = KvPage::new(&self.shape);
                for (place, row) in rows.enumerate() {
                    let at = row * width..(row + 1) * width;
                    page.write(&self.shape, place, &keys[at.clone()], &values[at]);
                }
                page
            };
            let pages = |ends: &[usize]| {
                let rows = ends[0]..ends[1];
                let starts = rows
                    .clone()
                    .into_par_iter()
                    .step_by(AttentionShape::PAGE_TOKENS);
                let ends = |start: usize| rows.end.min(start + AttentionShape::PAGE_TOKENS);
                let pages = starts.map(|start| fill(start..ends(start))).collect();
                (rows.clone(), pages)
            };
            self.cu_seqlens.par_windows(2).map(pages).collect()
        }
    }

    impl FusedOp<Flex, 3> for Fused {
        type Saved = Saved;

        fn forward(&self, [q, k, v]: [&FlexTensor; 3], _: [bool; 3]) -> (FlexTensor, Saved) {
            let AttentionShape {
                n_heads,
                n_kv_heads,
                head_dim,
                ..
            } = self.shape;
            let (queries, keys) = (self.rotated(q, n_heads), self.rotated(k, n_kv_heads));
            let documents = self.documents(&keys, values(v));
            let most_pages = documents.iter().map(|(_, pages)| pages.len()).max();
            let table: Vec<u32> = (0..most_pages.unwrap_or(0) as u32).collect();
            let segments: Vec<_> = documents
                .iter()
                .map(|(rows, pages)| Segment {
                    rows: rows.clone(),
                    n_past: 0,
                    pages,
                    table: &table[..pages.len()],
                })
                .collect();
            let mut out = host::zeros(queries.len());
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
                cu_seqlens: &self.cu_seqlens,
                queries: &saved.queries,
                keys: &saved.keys,
                values: values(&saved.values),
                out: values(&saved.out),
                d_out: values(grad),
                log_sums: &saved.log_sums,
            };
            let mut d_q = host::zeros(saved.queries.len());
            let mut d_k = host::zeros(saved.keys.len());
            let mut d_v = host::zeros(saved.keys.len());
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

//! Causal attention with grouped queries and rotary positions.

use std::cell::OnceCell;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, activation};
use firebox_tensor::host::RotaryTable;
use firebox_tensor::kernels::{self, RotaryAttention};

use crate::kv_cache::LayerCache;
use crate::linear::Linear;
use crate::rope::RopeTable;

/// Masked scores get this value; their probability is then exactly zero in f32.
const MASKED: f32 = f32::MIN;

/// Multi-head attention whose `n_heads` queries share `n_kv_heads` keys and values.
///
/// Source: Ainslie et al. (2023), <https://arxiv.org/abs/2305.13245>.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[heads * head_dim, d_model]`.
    pub q_proj: Linear,
    /// `[kv_heads * head_dim, d_model]`.
    pub k_proj: Linear,
    /// `[kv_heads * head_dim, d_model]`.
    pub v_proj: Linear,
    /// `[d_model, heads * head_dim]`.
    pub o_proj: Linear,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// What all layers of one forward pass share.
pub(crate) struct Positions {
    // The kernel wants the first, ordinary operations the others; each is made when it is wanted.
    rotary: OnceCell<Arc<RotaryTable>>,
    rope: OnceCell<RopeTable>,
    /// `[seq, start + seq]`, true = hidden; `None` when nothing is hidden.
    mask: OnceCell<Option<Tensor<2, Bool>>>,
    /// Where packed documents begin among the rows, and the end of the last.
    cu_seqlens: Option<Arc<Vec<usize>>>,
    /// The first row of each packed document, and its own positions.
    documents: OnceCell<Vec<(usize, Positions)>>,
    /// Keys that a query sees; `None` for all.
    window: Option<usize>,
    inv_freq: Vec<f64>,
    /// Tokens before this pass.
    start: usize,
    seq: usize,
    device: Device,
}

impl Positions {
    pub(crate) fn new(inv_freq: &[f64], start: usize, seq: usize, device: &Device) -> Self {
        Self {
            rotary: OnceCell::new(),
            rope: OnceCell::new(),
            mask: OnceCell::new(),
            cu_seqlens: None,
            documents: OnceCell::new(),
            window: None,
            inv_freq: inv_freq.to_vec(),
            start,
            seq,
            device: device.clone(),
        }
    }

    /// The same where a query sees only its last keys.
    pub(crate) fn with_window(self, window: Option<usize>) -> Self {
        Self { window, ..self }
    }

    /// The same for rows into which documents are packed.
    pub(crate) fn packed(self, cu_seqlens: &[usize]) -> Self {
        let cu_seqlens = Some(Arc::new(cu_seqlens.to_vec()));
        Self { cu_seqlens, ..self }
    }

    fn documents(&self, cu_seqlens: &[usize]) -> &[(usize, Self)] {
        let new = |ends: &[usize]| {
            let seq = ends[1] - ends[0];
            let positions = Self::new(&self.inv_freq, 0, seq, &self.device);
            (ends[0], positions.with_window(self.window))
        };
        let all = || cu_seqlens.windows(2).map(new).collect();
        self.documents.get_or_init(all)
    }

    fn rotary(&self) -> &Arc<RotaryTable> {
        self.rotary.get_or_init(|| {
            let mut rotary = RotaryTable::new(&self.inv_freq);
            rotary.reach(self.start + self.seq);
            Arc::new(rotary)
        })
    }

    fn rope(&self) -> &RopeTable {
        let new = || RopeTable::new(&self.inv_freq, self.start, self.seq, &self.device);
        self.rope.get_or_init(new)
    }

    fn mask(&self) -> Option<&Tensor<2, Bool>> {
        let n_keys = self.start + self.seq;
        let window = self.window.unwrap_or(n_keys);
        let new = || causal_mask(self.start, self.seq, window, &self.device);
        let hides = self.seq > 1 || window < n_keys;
        self.mask.get_or_init(|| hides.then(new)).as_ref()
    }
}

/// True where query `i` (token `start + i`) must not see key `j`: `j > start + i`, or
/// `j <= start + i - window`.
fn causal_mask(start: usize, seq: usize, window: usize, device: &Device) -> Tensor<2, Bool> {
    let shape = [seq, start + seq];
    let keys = Tensor::<1, Int>::arange(0..(start + seq) as i64, device).unsqueeze_dim::<2>(0);
    let queries = Tensor::<1, Int>::arange(start as i64..(start + seq) as i64, device);
    let queries = queries.unsqueeze_dim::<2>(1); // [seq, 1]
    let (keys, queries) = (keys.expand(shape), queries.expand(shape));
    let later = keys.clone().greater(queries.clone());
    if window >= start + seq {
        return later;
    }
    later.bool_or(keys.add_scalar(window as i64).lower_equal(queries))
}

impl Attention {
    /// # Shapes
    /// `[batch, seq, d_model]` in and out.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        positions: &Positions,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        self.o_proj.forward(self.context(x, positions, cache))
    }

    /// What the heads gather, before `o_proj`: `[batch, seq, d_model]` to
    /// `[batch, seq, heads * head_dim]`.
    pub(crate) fn context(
        &self,
        x: Tensor<3>,
        positions: &Positions,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let (q, k, v) = (
            self.q_proj.forward(x.clone()),
            self.k_proj.forward(x.clone()),
            self.v_proj.forward(x),
        );
        let attention = RotaryAttention {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            table: Arc::clone(positions.rotary()),
            cu_seqlens: positions.cu_seqlens.clone(),
            window: positions.window,
        };
        // Without a cache the sequences are whole: they begin at their first token.
        if cache.is_none()
            && let Some(context) = kernels::rotary_attention([&q, &k, &v], &attention)
        {
            return context;
        }
        match &positions.cu_seqlens {
            Some(cu_seqlens) => self.attend_packed([q, k, v], positions.documents(cu_seqlens)),
            None => self.attend([q, k, v], positions, cache),
        }
    }

    /// [`Self::attend`] for each packed document.
    fn attend_packed(&self, qkv: [Tensor<3>; 3], documents: &[(usize, Positions)]) -> Tensor<3> {
        let [batch, seq, width] = qkv[0].dims();
        let qkv = qkv.map(|x| {
            let [_, _, width] = x.dims();
            x.reshape([1, batch * seq, width])
        });
        let attend = |(first, positions): &(usize, Positions)| {
            let rows = |x: &Tensor<3>| x.clone().narrow(1, *first, positions.seq);
            self.attend(qkv.each_ref().map(rows), positions, None)
        };
        Tensor::cat(documents.iter().map(attend).collect(), 1).reshape([batch, seq, width])
    }

    /// The same by ordinary operations, and over a cache.
    fn attend(
        &self,
        [q, k, v]: [Tensor<3>; 3],
        positions: &Positions,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let [batch, seq, _] = q.dims();
        let q = split_heads(q, self.n_heads);
        let k = split_heads(k, self.n_kv_heads);
        let v = split_heads(v, self.n_kv_heads);
        let (q, k) = (positions.rope().rotate(q), positions.rope().rotate(k));
        let (k, v) = match cache {
            Some(cache) => cache.append(positions.start, k, v),
            None => (k, v),
        };
        let context = grouped_attention(q, k, v, positions.mask());
        let merged = context.swap_dims(1, 2); // [batch, seq, heads, head_dim]
        merged.reshape([batch, seq, self.n_heads * self.head_dim])
    }
}

/// `[batch, seq, heads * head_dim]` to `[batch, heads, seq, head_dim]`.
fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<4> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch, seq, n_heads, width / n_heads])
        .swap_dims(1, 2)
}

/// `softmax(Q Kᵀ / sqrt(head_dim)) V`, the queries of one key head stacked into one matrix, so that
/// keys and values are never repeated.
///
/// # Shapes
/// `q` `[batch, heads, seq, head_dim]`, `k` and `v` `[batch, kv_heads, keys, head_dim]`.
fn grouped_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: Option<&Tensor<2, Bool>>,
) -> Tensor<4> {
    let [batch, n_heads, seq, head_dim] = q.dims();
    let [_, n_kv_heads, keys, _] = k.dims();
    let group = n_heads / n_kv_heads;
    let q = q.mul_scalar(1.0 / (head_dim as f64).sqrt());
    let q = q.reshape([batch, n_kv_heads, group * seq, head_dim]);
    let mut scores = q.matmul(k.swap_dims(2, 3)); // [batch, kv_heads, group * seq, keys]
    if let Some(mask) = mask {
        let shape = [batch, n_kv_heads, group, seq, keys];
        let mask = mask.clone().reshape([1, 1, 1, seq, keys]).expand(shape);
        scores = scores.reshape(shape).mask_fill(mask, MASKED).reshape([
            batch,
            n_kv_heads,
            group * seq,
            keys,
        ]);
    }
    let probs = activation::softmax(scores, 3);
    probs.matmul(v).reshape([batch, n_heads, seq, head_dim])
}

#[cfg(test)]
mod tests;

//! Rotary causal attention over whole sequences, tile by tile: no `[seq, seq]` matrix is held.
//!
//! A cube has `side²` units and works on tiles of `side` queries by `side` keys; unit `(r, c)` has
//! the score of query `r` and key `c`, and of the outputs of row `r` every `side`-th from `c` on.
//!
//! Source: Dao et al. (2022), algorithms 1 and 4, <https://arxiv.org/abs/2205.14135>.

use burn::backend::Cube;
use burn::tensor::Tensor;

use super::attention_backward;
use super::attention_forward::attend;
use super::op::GpuTensor;
use super::rope::{GpuRotary, Turn, rotate};
use crate::kernels;
use crate::kernels::fused_op::{FusedOp, Input, apply};

/// The widest head whose tiles fit in the memory that every device's cubes have.
const MAX_HEAD_DIM: usize = 128;

/// Sizes that all attention kernels take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) head_dim: usize,
}

#[derive(Debug, Clone)]
struct RotaryAttention {
    heads: Heads,
    rotary: GpuRotary,
}

/// Rotated queries and keys, and the forward pass's results.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    pub(super) q: GpuTensor,
    pub(super) k: GpuTensor,
    pub(super) v: GpuTensor,
    pub(super) out: GpuTensor,
    /// `log Σ exp(score)` of each row and head, `[batch * seq, n_heads]`.
    pub(super) log_sums: GpuTensor,
}

/// See [`crate::kernels::rotary_attention`]; `None` where this is no case for the kernels.
pub(crate) fn rotary_attention(
    [q, k, v]: [&Tensor<3>; 3],
    attention: &kernels::RotaryAttention,
) -> Option<Tensor<3>> {
    if attention.cu_seqlens.is_some() || attention.window.is_some() {
        return None;
    }
    let (n_heads, n_kv_heads) = (attention.n_heads, attention.n_kv_heads);
    let [batch, seq, width] = q.dims();
    let head_dim = width.checked_div(n_heads)?;
    let kv_shape = [batch, seq, n_kv_heads * head_dim];
    let fits = k.dims() == kv_shape && v.dims() == kv_shape && width == n_heads * head_dim;
    if !fits || q.shape().num_elements() == 0 || head_dim > MAX_HEAD_DIM || head_dim % 2 != 0 {
        return None;
    }
    let autodiff = [q, k, v].iter().any(|x| x.is_autodiff());
    let inputs = [q, k, v].map(|x| Input::<Cube>::new(x, autodiff));
    if inputs.iter().any(Option::is_none) {
        return None;
    }
    let device = if q.is_autodiff() {
        q.clone().inner().device()
    } else {
        q.device()
    };
    let op = RotaryAttention {
        heads: Heads {
            n_heads,
            n_kv_heads,
            head_dim,
        },
        rotary: GpuRotary::new(&attention.table, &device)?,
    };
    apply(op, inputs)
}

impl FusedOp<Cube, 3> for RotaryAttention {
    type Saved = Saved;

    fn forward(&self, [q, k, v]: [&GpuTensor; 3], _: [bool; 3]) -> (GpuTensor, Saved) {
        let turned =
            |x: &GpuTensor| rotate(x.clone(), &self.rotary, self.heads.head_dim, Turn::Forth);
        let (q, k, v) = (turned(q), turned(k), v.clone());
        let [out, log_sums] = attend([&q, &k, &v], self.heads);
        let saved = Saved {
            q,
            k,
            v,
            out: out.clone(),
            log_sums,
        };
        (out, saved)
    }

    fn backward(
        &self,
        saved: Saved,
        grad: &GpuTensor,
        [wants_q, wants_k, wants_v]: [bool; 3],
    ) -> [Option<GpuTensor>; 3] {
        let back = |d: GpuTensor| rotate(d, &self.rotary, self.heads.head_dim, Turn::Back);
        let deltas = attention_backward::deltas(&saved.out, grad, self.heads);
        let d_q = wants_q.then(|| back(attention_backward::d_q(&saved, grad, &deltas, self.heads)));
        if !wants_k && !wants_v {
            return [d_q, None, None];
        }
        let [d_k, d_v] = attention_backward::d_k_and_d_v(&saved, grad, &deltas, self.heads);
        [d_q, wants_k.then(|| back(d_k)), wants_v.then_some(d_v)]
    }
}

//! Scaled dot-product attention.

use burn::tensor::{Bool, Tensor};

use crate::math::softmax;

/// Which keys a query may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionMask {
    /// Every key: an encoder.
    None,
    /// The keys up to its own position: a decoder. The queries are the last of the sequence, so
    /// that with `q_seq < kv_seq` the first query sees `kv_seq - q_seq + 1` keys.
    Causal,
}

/// Mixes values by how well their keys match each query.
///
/// `attention(Q, K, V) = softmax(Q K^T / sqrt(head_dim)) V`. The division keeps the variance of the
/// scores at 1 when queries and keys have variance 1, whatever the head size.
///
/// # Shapes
/// - `q`: `[batch, heads, q_seq, head_dim]`
/// - `k`: `[batch, heads, kv_seq, head_dim]`
/// - `v`: `[batch, heads, kv_seq, v_dim]`
/// - result: `[batch, heads, q_seq, v_dim]`
///
/// # Panics
/// If the shapes do not fit, or a causal mask is asked for with more queries than keys.
///
/// # Examples
/// ```
/// # #[cfg(feature = "cpu")] {
/// use firebox_tensor::burn::tensor::Tensor;
/// use firebox_tensor::math::{AttentionMask, scaled_dot_product_attention};
///
/// let device = firebox_tensor::DeviceChoice::Cpu.open().unwrap();
/// let q = Tensor::<4>::zeros([1, 1, 2, 4], &device); // looks at all keys alike
/// let k = Tensor::<4>::ones([1, 1, 2, 4], &device);
/// let v = Tensor::<4>::from_floats([[[[1.0], [3.0]]]], &device); // [1, 1, 2, 1]
/// let y = scaled_dot_product_attention(q, k, v, AttentionMask::Causal);
/// assert_eq!(y.try_into_vec_as::<f32>().unwrap(), [1.0, 2.0]); // the first sees only itself
/// # }
/// ```
///
/// Source: Vaswani et al. (2017), <https://arxiv.org/abs/1706.03762>, equation 1.
pub fn scaled_dot_product_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: AttentionMask,
) -> Tensor<4> {
    let [_, _, q_seq, head_dim] = q.dims();
    let [_, _, kv_seq, _] = k.dims();
    let scores = q.matmul(k.transpose()) / (head_dim as f64).sqrt(); // [batch, heads, q_seq, kv_seq]
    let scores = match mask {
        AttentionMask::None => scores,
        AttentionMask::Causal => {
            assert!(
                q_seq <= kv_seq,
                "causal attention of {q_seq} queries over {kv_seq} keys"
            );
            let n_past = (kv_seq - q_seq) as i64;
            // True above the diagonal: the keys of later positions, hidden.
            let hidden = Tensor::<2, Bool>::tril_mask([q_seq, kv_seq], n_past, &scores.device());
            let hidden = hidden.reshape([1, 1, q_seq, kv_seq]); // [1, 1, q_seq, kv_seq]
            let hidden = hidden.expand(scores.dims()); // [batch, heads, q_seq, kv_seq]
            scores.mask_fill(hidden, f32::NEG_INFINITY)
        }
    };
    softmax(scores, 3).matmul(v) // [batch, heads, q_seq, v_dim]
}

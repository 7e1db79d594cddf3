use burn::tensor::{Distribution, Tensor};
use firebox_tensor::math::{self, AttentionMask};

use super::*;

#[test]
fn grouped_attention_equals_plain_attention_with_repeated_keys() {
    let device = Device::flex();
    let (heads, kv_heads, seq, head_dim) = (6, 2, 5, 4);
    let random = |heads| {
        Tensor::<4>::random(
            [1, heads, seq, head_dim],
            Distribution::Normal(0.0, 1.0),
            &device,
        )
    };
    let (q, k, v) = (random(heads), random(kv_heads), random(kv_heads));
    let mask = causal_mask(0, seq, seq, &device);
    let grouped = grouped_attention(q.clone(), k.clone(), v.clone(), Some(&mask));
    for head in 0..heads {
        let pick = |x: &Tensor<4>, head: usize| x.clone().narrow(1, head, 1);
        let kv = head / (heads / kv_heads);
        let (k, v) = (pick(&k, kv), pick(&v, kv));
        let plain = math::scaled_dot_product_attention(pick(&q, head), k, v, AttentionMask::Causal);
        let difference = (pick(&grouped, head) - plain)
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(difference < 1e-5, "head {head}: {difference}");
    }
}

#[test]
fn the_mask_hides_later_keys_and_those_before_the_window() {
    let mask = causal_mask(2, 2, 4, &Device::flex())
        .into_data()
        .try_into_vec::<bool>()
        .unwrap();
    assert_eq!(
        mask,
        [false, false, false, true, false, false, false, false]
    );
    let mask = causal_mask(2, 2, 2, &Device::flex())
        .into_data()
        .try_into_vec::<bool>()
        .unwrap();
    assert_eq!(mask, [true, false, false, true, true, true, false, false]);
}

#[test]
fn packed_documents_by_ordinary_operations_are_what_the_kernel_computes() {
    let device = Device::flex();
    let config = crate::LlamaConfig {
        n_kv_heads: 2,
        ..crate::LlamaConfig::new(16, 24, 8, 1, 6)
    };
    let attention = config.init(1, &device).layers[0].self_attn.clone();
    let x = Tensor::<3>::random([2, 9, 24], Distribution::Normal(0.0, 1.0), &device);
    let cu_seqlens = [0, 2, 3, 9, 14, 18];
    let inv_freq = crate::rope::inv_freq(1e4, 4, None);
    for window in [None, Some(1), Some(3)] {
        let positions = Positions::new(&inv_freq, 0, 9, &device).with_window(window);
        let positions = positions.packed(&cu_seqlens);
        let fused = attention.forward(x.clone(), &positions, None);
        let qkv = [&attention.q_proj, &attention.k_proj, &attention.v_proj];
        let qkv = qkv.map(|proj| proj.forward(x.clone()));
        let plain = attention.attend_packed(qkv, positions.documents(&cu_seqlens));
        let plain = attention.o_proj.forward(plain);
        let difference = (fused - plain).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{window:?}: {difference}");
    }
}

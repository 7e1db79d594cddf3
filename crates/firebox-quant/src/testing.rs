//! Small decoders as checkpoints, for tests.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use burn::tensor::Device;
use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_model::{Llama, LlamaConfig, NamedWeight};

/// Two layers whose norms have gains, with a head of their own or not.
pub(crate) fn decoder(tie_embeddings: bool) -> Llama {
    let config = LlamaConfig {
        n_kv_heads: 2,
        tie_embeddings,
        ..LlamaConfig::new(61, 64, 128, 2, 4)
    };
    let mut model = config.init(7, &Device::flex());
    let gains = |i: usize, n: usize| {
        let gains: Vec<f32> = (0..n)
            .map(|j| 1.0 + 0.4 * ((i * n + j) as f32).sin())
            .collect();
        burn::module::Param::from_data(burn::tensor::TensorData::new(gains, [n]), &Device::flex())
    };
    for (i, layer) in model.layers.iter_mut().enumerate() {
        layer.input_layernorm.gamma = gains(2 * i, 64);
        layer.post_attention_layernorm.gamma = gains(2 * i + 1, 64);
    }
    model.norm.gamma = gains(9, 64);
    model
}

/// A model as a checkpoint at `dir`.
pub(crate) fn saved(model: &Llama, dir: &std::path::Path) -> Checkpoint {
    let mut writer = HfWriter::create(dir).unwrap();
    writer.set_config(model.config().to_hf());
    NamedWeight::write_all(&model.named_weights(), writer, Dtype::F32).unwrap();
    Checkpoint::open(dir).unwrap()
}

/// Token ids.
pub(crate) fn text(seed: u32, n: u32) -> Vec<u32> {
    (0..n)
        .map(|i| (i * i * 3 + i * 17 + seed * 29) % 61)
        .collect()
}

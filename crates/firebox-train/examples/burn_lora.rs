//! Run with `cargo run --release -p firebox-train --example burn_lora`.
//!
//! LoRA as burn has it (`Module::apply_lora`) on a decoder of burn's own modules with SmolLM2-135M's
//! sizes: what `firebox bench train --mode lora` is measured against. Rank 8 on `q_proj` and `v_proj`,
//! AdamW, random tokens and weights: time and memory do not depend on their values. Prints JSON.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::time::Instant;

use burn::{
    module::{Lora, Module, ParamGroup},
    nn::{
        Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig, RotaryEncoding,
        RotaryEncodingConfig, SwiGlu, SwiGluConfig, loss::CrossEntropyLossConfig,
    },
    tensor::{Bool, Device, Distribution, Int, Tensor, activation::softmax},
};
use burn_optim::{AdamWConfig, GradientsParams};
use clap::Parser;
use firebox_tensor::memory;

const D_MODEL: usize = 576;
const D_FF: usize = 1536;
const N_LAYERS: usize = 30;
const N_HEADS: usize = 9;
const N_KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
const VOCAB_SIZE: usize = 49152;

/// Times burn's own LoRA
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of a step
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 128)]
    seq: usize,
    /// Steps that are counted, after one that is not
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
}

#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    rotary: RotaryEncoding,
}

#[derive(Module, Debug)]
struct Layer {
    input_layernorm: RmsNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: RmsNorm,
    gate_up: SwiGlu,
    down_proj: Linear,
}

impl Decoder {
    fn init(seq: usize, device: &Device) -> Self {
        Self {
            embed_tokens: EmbeddingConfig::new(VOCAB_SIZE, D_MODEL).init(device),
            layers: (0..N_LAYERS).map(|_| Layer::init(device)).collect(),
            norm: RmsNormConfig::new(D_MODEL).init(device),
            rotary: RotaryEncodingConfig::new(seq, HEAD_DIM).init(device),
        }
    }

    /// The mean loss of predicting each token's successor: ids `[batch, seq]` to `[1]`.
    fn loss(&self, ids: Tensor<2, Int>) -> Tensor<1> {
        let [batch, seq] = ids.dims();
        let mut x = self.embed_tokens.forward(ids.clone());
        let future = Tensor::<2, Bool>::tril_mask([seq, seq], 0, &x.device());
        for layer in &self.layers {
            x = layer.forward(x, &self.rotary, &future);
        }
        let n_targets = batch * (seq - 1);
        let x = self.norm.forward(x).narrow(1, 0, seq - 1);
        let x = x.reshape([n_targets, D_MODEL]);
        // The head is the embedding.
        let logits = x.matmul(self.embed_tokens.weight.val().transpose());
        let targets = ids.narrow(1, 1, seq - 1).reshape([n_targets]);
        let loss = CrossEntropyLossConfig::new().init(&logits.device());
        loss.forward(logits, targets)
    }
}

impl Layer {
    fn init(device: &Device) -> Self {
        let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).with_bias(false).init(device);
        let norm = || RmsNormConfig::new(D_MODEL).init(device);
        Self {
            input_layernorm: norm(),
            q_proj: linear(D_MODEL, N_HEADS * HEAD_DIM),
            k_proj: linear(D_MODEL, N_KV_HEADS * HEAD_DIM),
            v_proj: linear(D_MODEL, N_KV_HEADS * HEAD_DIM),
            o_proj: linear(N_HEADS * HEAD_DIM, D_MODEL),
            post_attention_layernorm: norm(),
            gate_up: SwiGluConfig::new(D_MODEL, D_FF).init(device),
            down_proj: linear(D_FF, D_MODEL),
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        rotary: &RotaryEncoding,
        future: &Tensor<2, Bool>,
    ) -> Tensor<3> {
        let attended = self.attention(self.input_layernorm.forward(x.clone()), rotary, future);
        let x = x + attended;
        let normed = self.post_attention_layernorm.forward(x.clone());
        x + self.down_proj.forward(self.gate_up.forward(normed))
    }

    fn attention(
        &self,
        x: Tensor<3>,
        rotary: &RotaryEncoding,
        future: &Tensor<2, Bool>,
    ) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        let heads = |x: Tensor<3>, n_heads: usize| {
            x.reshape([batch, seq, n_heads, HEAD_DIM]).swap_dims(1, 2)
        };
        let q = rotary.apply(heads(self.q_proj.forward(x.clone()), N_HEADS), 0);
        let k = rotary.apply(heads(self.k_proj.forward(x.clone()), N_KV_HEADS), 0);
        let v = heads(self.v_proj.forward(x), N_KV_HEADS);
        let (k, v) = (for_each_head(k), for_each_head(v));
        let scores = q.matmul(k.transpose()) / (HEAD_DIM as f64).sqrt();
        let scores = scores.mask_fill(future.clone().unsqueeze(), f32::NEG_INFINITY);
        let attended = softmax(scores, 3).matmul(v);
        let attended = attended.swap_dims(1, 2);
        let attended = attended.reshape([batch, seq, N_HEADS * HEAD_DIM]);
        self.o_proj.forward(attended)
    }
}

/// Each key or value head for the query heads that share it: `[batch, kv_heads, seq, head_dim]` to
/// `[batch, heads, seq, head_dim]`.
fn for_each_head(x: Tensor<4>) -> Tensor<4> {
    let [batch, n_kv_heads, seq, head_dim] = x.dims();
    let n_shared = N_HEADS / n_kv_heads;
    let x = x.unsqueeze_dim::<5>(2).repeat_dim(2, n_shared);
    x.reshape([batch, N_HEADS, seq, head_dim])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { batch, seq, steps } = Arguments::parse();
    firebox_tensor::host::keep_freed_memory();
    let start = memory::process();
    let device = Device::flex();
    device.seed(0);
    let device = device.autodiff();
    let adapted = ParamGroup::from_any_predicates(vec!["q_proj", "v_proj"]);
    let lora = Lora::new(8, 16.0).set_param_group(adapted);
    let mut model = Decoder::init(seq, &device).apply_lora(lora);
    let ids = Tensor::<2>::random(
        [batch, seq],
        Distribution::Uniform(0.0, VOCAB_SIZE as f64),
        &device,
    );
    let ids = ids.int();
    let mut optimizer = AdamWConfig::new().init();
    let mut rates = Vec::with_capacity(steps as usize);
    for step in 0..=steps {
        let begin = Instant::now();
        let gradients = model.loss(ids.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(1e-5, model, gradients);
        if step > 0 {
            rates.push((batch * seq) as f64 / begin.elapsed().as_secs_f64());
        }
    }
    rates.sort_by(f64::total_cmp);
    let json = serde_json::json!({
        "tokens_per_s": rates.get(rates.len() / 2),
        "start_rss_bytes": start.rss_bytes,
        "peak_rss_bytes": memory::process().peak_rss_bytes,
    });
    println!("{json}");
    Ok(())
}

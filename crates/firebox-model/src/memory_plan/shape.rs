//! How large a run is, and what it holds.

use super::F32;
use crate::classifier::TrainedPart;
use crate::config::LlamaConfig;
use crate::lora::{LoraConfig, matches};
use crate::loss::CHUNK_ROWS;

/// Tensors of logits that the loss holds at once.
const HEAD_TENSORS: u64 = 2;

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingShape {
    /// The decoder.
    pub config: LlamaConfig,
    /// What trains.
    pub trained: TrainedWeights,
    /// Tokens of a batch, padding included.
    pub n_tokens: usize,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Batches a step.
    pub n_accum_steps: usize,
    /// Bytes of optimizer state for each trained value: 8 for AdamW.
    pub optimizer_bytes: f64,
    /// Whether an average of the trained values is kept.
    pub averages: bool,
    /// Whether gradients are summed over several ranks, by way of the host.
    pub several_ranks: bool,
    /// Whether layers are computed again for their gradients.
    pub activation_checkpointing: bool,
    /// Whether the factors of products are copied to be rounded to f16.
    pub rounds_to_f16: bool,
    /// Bits of a weight in the decoder's linear layers: 32, or fewer where they stay packed.
    pub linear_bits: f64,
    /// Whether the loss is over the vocabulary, and not over a new head.
    pub predicts_tokens: bool,
}

/// Which weights train.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainedWeights {
    /// A part of the model's own.
    Part(TrainedPart),
    /// An adapter's.
    Adapter(LoraConfig),
}

impl TrainingShape {
    /// The largest moment of a step. The loss is computed when every activation is there, or with
    /// checkpointing when every layer's input is; the backward pass then frees activations and makes
    /// gradients.
    pub(super) fn moment(&self) -> Vec<(&'static str, u64)> {
        let n_layers = self.config.n_layers as u64;
        let layers: Vec<u64> = (0..self.config.n_layers)
            .map(|layer| self.layer_activations(layer))
            .collect();
        let activations: u64 = layers[self.lowest_trained_layer()..].iter().sum();
        let layer = layers.into_iter().max().unwrap_or(0);
        let stream = self.n_tokens as u64 * self.config.d_model as u64 * F32;
        // While a layer goes backward, gradients of its activations are in memory as well.
        let passing = layer + 3 * stream + self.unpacked_bytes();
        let vocabulary = self.config.vocab_size as u64 * self.config.d_model as u64 * F32;
        let trains_vocabulary = self.trains_vocabulary();
        let head_gradient = u64::from(trains_vocabulary && self.predicts_tokens) * vocabulary;
        // A tied embedding has two gradients before they are added.
        let twice = u64::from(trains_vocabulary && self.config.tie_embeddings) * vocabulary;
        let gradients = self.n_trained() * F32 + twice;
        let (held, at_loss) = match self.activation_checkpointing {
            true => (n_layers * stream, n_layers * stream),
            false => (0, activations + passing),
        };
        let head = self.head_bytes();
        let start = vec![
            ("activations", at_loss),
            ("gradient of the vocabulary", head_gradient),
            ("loss", head),
        ];
        let end = vec![
            ("gradients", gradients),
            ("activations", held + layer + passing),
        ];
        let sum = |moment: &[(&str, u64)]| moment.iter().map(|(_, bytes)| bytes).sum::<u64>();
        match sum(&start) >= sum(&end) {
            true => start,
            false => end,
        }
    }

    /// Of a layer, in bytes: the inputs of both norms, rotated queries and keys, values, what attention
    /// gives, gate and up; the norms' outputs and the product of gate and up where weights that
    /// read them train.
    fn layer_activations(&self, layer: usize) -> u64 {
        let config = &self.config;
        let (q, kv) = (
            config.n_heads * config.head_dim,
            config.n_kv_heads * config.head_dim,
        );
        let always = 2 * config.d_model + 2 * q + 2 * kv + 2 * config.d_ff + config.n_heads;
        let trains = self.trained_linears(layer);
        let inputs = [
            (&["q_proj", "k_proj", "v_proj"][..], config.d_model),
            (&["gate_proj", "up_proj"], config.d_model),
            (&["down_proj"], config.d_ff),
        ];
        let kept = inputs.into_iter().filter(|(readers, _)| {
            let mut trained = trains.iter();
            trained.any(|(name, _)| readers.iter().any(|reader| name.ends_with(reader)))
        });
        let inputs: usize = kept.map(|(_, width)| width).sum();
        (self.n_tokens * (always + inputs + self.adapter_activations(layer))) as u64 * F32
    }

    /// The linear layers of a decoder layer that train, themselves or by an adapter: name and shape.
    fn trained_linears(&self, layer: usize) -> Vec<(String, [usize; 2])> {
        let mut all = self.config.linear_shapes(layer);
        if let TrainedWeights::Adapter(lora) = &self.trained {
            all.retain(|(name, _)| lora.adapts(name));
        }
        all
    }

    /// What an adapter adds to a layer, in values a token: the narrow side of each path; DoRA's outputs
    /// before they are scaled; dropped inputs and what dropped them.
    fn adapter_activations(&self, layer: usize) -> usize {
        let TrainedWeights::Adapter(lora) = &self.trained else {
            return 0;
        };
        let drops = lora.dropout > 0.0;
        let of = |d_out: usize, d_in: usize| {
            let scaled = match (lora.dora, drops) {
                (false, _) => 0,
                (true, false) => d_out,
                (true, true) => 2 * d_out,
            };
            lora.rank + scaled + if drops { 2 * d_in } else { 0 }
        };
        let adapted = self.trained_linears(layer).into_iter();
        adapted.map(|(_, [d_out, d_in])| of(d_out, d_in)).sum()
    }

    /// A packed weight is unpacked for each product, and forgotten after it.
    fn unpacked_bytes(&self) -> u64 {
        let is_packed = self.linear_bits < 32.0;
        let linears = self.config.linear_shapes(0).into_iter().map(size);
        u64::from(is_packed) * linears.max().unwrap_or(0) * F32
    }

    fn head_bytes(&self) -> u64 {
        let config = &self.config;
        if !self.predicts_tokens {
            return 0;
        }
        let rows = CHUNK_ROWS.min(self.n_tokens) as u64;
        let logits = HEAD_TENSORS * rows * config.vocab_size as u64 * F32;
        let hidden = 2 * self.n_tokens as u64 * config.d_model as u64 * F32;
        // Rounded in f32: the head, and the gradient of its weight.
        let n_copies = match (self.rounds_to_f16, self.trains_vocabulary()) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        let rounded = n_copies * (config.vocab_size * config.d_model) as u64 * F32;
        logits + hidden + rounded
    }

    pub(super) fn weight_bytes(&self) -> u64 {
        let config = &self.config;
        let n_layers = config.n_layers as u64;
        let linears: u64 = config.linear_shapes(0).into_iter().map(size).sum();
        let linears = n_layers * linears;
        let others = config.n_params() as u64 - linears;
        let own = others * F32 + (linears as f64 * self.linear_bits / 8.0) as u64;
        own + match &self.trained {
            TrainedWeights::Adapter(_) => self.n_trained() * F32,
            TrainedWeights::Part(_) => 0,
        }
    }

    /// How many values train.
    #[must_use]
    pub fn n_trained(&self) -> u64 {
        let config = &self.config;
        let n_params = config.n_params() as u64;
        let vocabulary = (config.vocab_size * config.d_model) as u64;
        let tables = if config.tie_embeddings { 1 } else { 2 };
        let layer = (n_params - tables * vocabulary - config.d_model as u64)
            / (config.n_layers as u64).max(1);
        match &self.trained {
            TrainedWeights::Part(TrainedPart::Head) => 0,
            TrainedWeights::Part(TrainedPart::LastLayers(n)) => {
                *n as u64 * layer + config.d_model as u64
            }
            TrainedWeights::Part(TrainedPart::All) => n_params,
            TrainedWeights::Adapter(lora) => {
                let layers = (0..config.n_layers).flat_map(|layer| config.linear_shapes(layer));
                let adapted = layers.filter(|(name, _)| lora.adapts(name));
                let factors: u64 = adapted
                    .map(|(_, [d_out, d_in])| {
                        let magnitude = if lora.dora { d_out } else { 0 };
                        (lora.rank * (d_out + d_in) + magnitude) as u64
                    })
                    .sum();
                factors + self.whole_modules(lora)
            }
        }
    }

    /// Multiplications and additions that a step needs for each token: products forward, the gradients of
    /// their inputs from the lowest trained layer on, and those of the weights that train. What
    /// activation checkpointing computes twice counts once.
    ///
    /// Source: Chowdhery et al. (2022), appendix B ("model FLOPs"), <https://arxiv.org/abs/2204.02311>,
    /// with half of the keys seen by a causal query.
    #[must_use]
    pub fn flops_per_token(&self) -> f64 {
        let config = &self.config;
        let linears: u64 = config.linear_shapes(0).into_iter().map(size).sum();
        let attention = 2.0 * self.seq_len as f64 * (config.n_heads * config.head_dim) as f64;
        let n_layers = config.n_layers as f64;
        let n_above = n_layers - self.lowest_trained_layer() as f64;
        let forward = n_layers * (2.0 * linears as f64 + attention);
        let backward = n_above.max(0.0) * (2.0 * linears as f64 + 2.0 * attention);
        let vocabulary = match self.predicts_tokens {
            true => (config.vocab_size * config.d_model) as f64,
            false => 0.0,
        };
        let head_weight = if self.trains_vocabulary() { 2.0 } else { 0.0 };
        let weights = match &self.trained {
            TrainedWeights::Adapter(_) => 6.0 * self.n_trained() as f64,
            TrainedWeights::Part(_) => 2.0 * n_above.max(0.0) * linears as f64,
        };
        forward + backward + weights + (4.0 + head_weight) * vocabulary
    }

    fn whole_modules(&self, lora: &LoraConfig) -> u64 {
        let config = &self.config;
        let sizes = lora
            .modules_to_save
            .iter()
            .map(|module| match module.as_str() {
                "norm" => config.d_model,
                _ => config.vocab_size * config.d_model,
            });
        sizes.sum::<usize>() as u64
    }

    fn trains_vocabulary(&self) -> bool {
        match &self.trained {
            TrainedWeights::Part(part) => *part == TrainedPart::All,
            TrainedWeights::Adapter(lora) => {
                let mut modules = lora.modules_to_save.iter();
                modules.any(|module| module == "lm_head" || module == "embed_tokens")
            }
        }
    }

    fn lowest_trained_layer(&self) -> usize {
        let n_layers = self.config.n_layers;
        match &self.trained {
            TrainedWeights::Part(TrainedPart::Head) => n_layers,
            TrainedWeights::Part(TrainedPart::LastLayers(n)) => n_layers - n.min(&n_layers),
            TrainedWeights::Part(TrainedPart::All) => 0,
            TrainedWeights::Adapter(_) if self.trains_vocabulary() => 0,
            TrainedWeights::Adapter(lora) => {
                let is_adapted = |layer: &usize| {
                    let shapes = self.config.linear_shapes(*layer);
                    shapes.iter().any(|(name, _)| lora.adapts(name))
                };
                (0..n_layers).find(is_adapted).unwrap_or(n_layers)
            }
        }
    }
}

impl LlamaConfig {
    /// Name and shape, `[out, in]`, of a layer's linear layers.
    fn linear_shapes(&self, layer: usize) -> Vec<(String, [usize; 2])> {
        let (q, kv) = (
            self.n_heads * self.head_dim,
            self.n_kv_heads * self.head_dim,
        );
        let shapes = [
            ("self_attn.q_proj", [q, self.d_model]),
            ("self_attn.k_proj", [kv, self.d_model]),
            ("self_attn.v_proj", [kv, self.d_model]),
            ("self_attn.o_proj", [self.d_model, q]),
            ("mlp.gate_proj", [self.d_ff, self.d_model]),
            ("mlp.up_proj", [self.d_ff, self.d_model]),
            ("mlp.down_proj", [self.d_model, self.d_ff]),
        ];
        let named = shapes.map(|(name, shape)| (format!("model.layers.{layer}.{name}"), shape));
        named.to_vec()
    }
}

impl LoraConfig {
    fn adapts(&self, layer: &str) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| matches(target, layer))
    }
}

fn size((_, [d_out, d_in]): (String, [usize; 2])) -> u64 {
    (d_out * d_in) as u64
}

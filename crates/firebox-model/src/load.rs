//! From a checkpoint, or from a seed, to a decoder on a device.

mod random;

use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{Checkpoint, Dtype};
use firebox_tensor::HalfMatrix;
use firebox_tensor::kernels::is_cpu;

use crate::attention::Attention;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::layerwise::DecoderHead;
use crate::linear::Linear;
use crate::llama::{DecoderLayer, Llama};
use crate::rms_norm::RmsNorm;
use crate::swiglu::SwiGlu;
use random::FromSeed;

/// Where the weights come from.
trait WeightSource {
    /// The floating-point tensor `name` of the given shape.
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        field: &'static str,
    ) -> Result<Tensor<D>, ModelError>;

    /// The linear layer `name`, dense or packed.
    fn linear(&mut self, name: &str, shape: [usize; 2], bias: bool) -> Result<Linear, ModelError>;
}

impl Llama {
    /// Loads a model. Dense weights become f32; weights that were saved packed stay packed.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a config that is no Llama-family decoder,
    /// [`ModelError::ShapeMismatch`] and [`ModelError::Checkpoint`] for weights that do not fit it.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self, ModelError> {
        let config = config_of(checkpoint)?;
        build(config, &mut FromCheckpoint::new(checkpoint, device))
    }

    /// As [`Llama::load`] for a model whose linear layers stay as they are, beside an adapter: on the
    /// CPU, weights of bf16 and f16 stay in 16 bits, and do not train. The values are the same.
    ///
    /// # Errors
    /// As [`Llama::load`].
    pub fn load_frozen(checkpoint: &Checkpoint, device: &Device) -> Result<Self, ModelError> {
        let config = config_of(checkpoint)?;
        let mut source = FromCheckpoint {
            keeps_half: is_cpu(device),
            ..FromCheckpoint::new(checkpoint, device)
        };
        build(config, &mut source)
    }
}

/// The config of a checkpoint, compared with what the checkpoint has.
pub(crate) fn config_of(checkpoint: &Checkpoint) -> Result<LlamaConfig, ModelError> {
    let mut config = LlamaConfig::from_hf(checkpoint.config())?;
    check_layers(checkpoint, "model.layers.", config.n_layers)?;
    let has_own_head = checkpoint.shape("lm_head.weight").is_some();
    // A classifier's checkpoint has another head, and none for tokens.
    let has_score = checkpoint.shape("score.weight").is_some();
    config.tie_embeddings = !has_own_head && (config.tie_embeddings || has_score);
    Ok(config)
}

/// A config with fewer layers than the file would silently make another model.
pub(crate) fn check_layers(
    checkpoint: &Checkpoint,
    prefix: &str,
    n_layers: usize,
) -> Result<(), ModelError> {
    let layer_of = |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse().ok();
    let n_found = checkpoint
        .names()
        .iter()
        .filter_map(|name| layer_of(name))
        .max()
        .map_or(0, |last: usize| last + 1);
    match n_found > n_layers {
        true => Err(ModelError::Config {
            field: "num_hidden_layers",
            expected: format!("the {n_found} layers of the checkpoint"),
            found: format!("`{n_layers}`"),
            hint: "is config.json the one of this checkpoint?",
        }),
        false => Ok(()),
    }
}

impl LlamaConfig {
    /// A model with random weights: normal with deviation 0.02, the projections back into the
    /// residual stream divided by `sqrt(2 n_layers)`, norms at 1.
    ///
    /// Source: Radford et al. (2019), section 2.3.
    ///
    /// # Panics
    /// When the config is not valid; see [`LlamaConfig::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Llama {
        self.validate().expect("a validated config");
        let source = &mut FromSeed {
            seed,
            stream: 0,
            n_layers: self.n_layers,
            device,
        };
        build(self.clone(), source).expect("random weights have the right shapes")
    }
}

/// One layer of a checkpoint.
pub(crate) fn load_layer(
    checkpoint: &Checkpoint,
    config: &LlamaConfig,
    i: usize,
    device: &Device,
) -> Result<DecoderLayer, ModelError> {
    layer(config, i, &mut FromCheckpoint::new(checkpoint, device))
}

/// The last norm of a checkpoint, and the head of that name.
pub(crate) fn load_head(
    checkpoint: &Checkpoint,
    config: &LlamaConfig,
    name: &str,
    device: &Device,
) -> Result<DecoderHead, ModelError> {
    let mut source = FromCheckpoint::new(checkpoint, device);
    let shape = [config.vocab_size, config.d_model];
    let weight = source.tensor(&format!("{name}.weight"), shape, "vocab_size")?;
    Ok(DecoderHead {
        norm: norm(config, "model.norm", &mut source)?,
        lm_head: Linear::dense(weight, None),
    })
}

fn build<S: WeightSource>(config: LlamaConfig, source: &mut S) -> Result<Llama, ModelError> {
    let vocab = [config.vocab_size, config.d_model];
    let embed = source.tensor("model.embed_tokens.weight", vocab, "vocab_size")?;
    let layers = (0..config.n_layers)
        .map(|i| layer(&config, i, source))
        .collect::<Result<_, _>>()?;
    let norm = norm(&config, "model.norm", source)?;
    let head = match config.tie_embeddings {
        true => None,
        false => Some(source.tensor("lm_head.weight", vocab, "vocab_size")?),
    };
    Ok(Llama::from_parts(config, embed, layers, norm, head))
}

fn norm<S: WeightSource>(
    config: &LlamaConfig,
    name: &str,
    source: &mut S,
) -> Result<RmsNorm, ModelError> {
    let gamma = source.tensor(&format!("{name}.weight"), [config.d_model], "hidden_size")?;
    Ok(RmsNorm {
        gamma: burn::module::Param::from_tensor(gamma),
        eps: config.rms_eps,
    })
}

fn layer<S: WeightSource>(
    config: &LlamaConfig,
    i: usize,
    source: &mut S,
) -> Result<DecoderLayer, ModelError> {
    let name = |part: &str| format!("model.layers.{i}.{part}");
    let (q, kv) = (
        config.n_heads * config.head_dim,
        config.n_kv_heads * config.head_dim,
    );
    let (d_model, d_ff) = (config.d_model, config.d_ff);
    Ok(DecoderLayer {
        input_layernorm: norm(config, &name("input_layernorm"), source)?,
        self_attn: Attention {
            q_proj: source.linear(&name("self_attn.q_proj"), [q, d_model], config.qkv_bias)?,
            k_proj: source.linear(&name("self_attn.k_proj"), [kv, d_model], config.qkv_bias)?,
            v_proj: source.linear(&name("self_attn.v_proj"), [kv, d_model], config.qkv_bias)?,
            o_proj: source.linear(&name("self_attn.o_proj"), [d_model, q], config.o_bias)?,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        },
        post_attention_layernorm: norm(config, &name("post_attention_layernorm"), source)?,
        mlp: SwiGlu {
            gate_proj: source.linear(&name("mlp.gate_proj"), [d_ff, d_model], config.mlp_bias)?,
            up_proj: source.linear(&name("mlp.up_proj"), [d_ff, d_model], config.mlp_bias)?,
            down_proj: source.linear(&name("mlp.down_proj"), [d_model, d_ff], config.mlp_bias)?,
        },
    })
}

struct FromCheckpoint<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    /// Whether linear layers of 16 bits stay in 16 bits.
    keeps_half: bool,
}

impl<'a> FromCheckpoint<'a> {
    fn new(checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self {
            checkpoint,
            device,
            keeps_half: false,
        }
    }
}

/// The shape in the file is the one that the config implies; `field` of the config is named if not.
pub(crate) fn check_shape(
    name: &str,
    expected: &[usize],
    found: &[usize],
    field: &'static str,
) -> Result<(), ModelError> {
    if expected == found {
        return Ok(());
    }
    let (name, expected, found) = (name.to_owned(), expected.to_vec(), found.to_vec());
    Err(ModelError::ShapeMismatch {
        name,
        expected,
        found,
        field,
    })
}

/// A tensor's values; its shape is known before they are decoded, so that a wrong one costs nothing.
pub(crate) fn tensor_of_shape(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &[usize],
    field: &'static str,
) -> Result<Vec<f32>, ModelError> {
    if let Some(found) = checkpoint.shape(name) {
        check_shape(name, shape, &found, field)?;
    }
    let host = checkpoint.tensor(name)?;
    check_shape(name, shape, &host.shape, field)?;
    Ok(host.data)
}

/// The config field that a linear layer's shape follows from.
pub(crate) fn field_of(layer: &str) -> &'static str {
    match layer.rsplit('.').next() {
        Some("q_proj" | "o_proj") => "num_attention_heads",
        Some("k_proj" | "v_proj") => "num_key_value_heads",
        Some("embed_tokens" | "lm_head") => "vocab_size",
        Some("query" | "key" | "value") => "hidden_size",
        _ => "intermediate_size",
    }
}

impl WeightSource for FromCheckpoint<'_> {
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        field: &'static str,
    ) -> Result<Tensor<D>, ModelError> {
        let values = tensor_of_shape(self.checkpoint, name, &shape, field)?;
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    fn linear(&mut self, name: &str, shape: [usize; 2], bias: bool) -> Result<Linear, ModelError> {
        let weight = format!("{name}.weight");
        let field = field_of(name);
        let bias = match bias {
            true => Some(self.tensor(&format!("{name}.bias"), [shape[0]], field)?),
            false => None,
        };
        if let Some(matrix) = self.checkpoint.packed(&weight)? {
            check_shape(&weight, &shape, &[matrix.n_rows(), matrix.n_cols()], field)?;
            return Ok(Linear::packed(matrix, bias));
        }
        let values = tensor_of_shape(self.checkpoint, &weight, &shape, field)?;
        if self.keeps_half
            && self.checkpoint.dtype(&weight).is_some_and(Dtype::is_half)
            && let Some(matrix) = HalfMatrix::exact(&values, shape[1])
        {
            return Ok(Linear::half(matrix, bias));
        }
        let weight = Tensor::from_data(TensorData::new(values, shape), self.device);
        Ok(Linear::dense(weight, bias))
    }
}

#[cfg(test)]
mod tests;

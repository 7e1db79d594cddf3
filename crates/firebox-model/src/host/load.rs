//! From a checkpoint to panels.

use firebox_checkpoint::{Checkpoint, Dtype, Storage};
use firebox_tensor::host::{
    Arena, AttentionShape, PanelFormat, PanelMatrix, SimdLevel, WeightRows,
};
use firebox_tensor::packed::{PackedFormat, PackedMatrix};

use super::linear::{HostLinear, Projection};
use super::weights::HostWeights;
use super::{HostLayer, HostLlama};
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::load::{check_shape, config_of, field_of, tensor_of_shape};
use crate::rope::inv_freq;

impl HostLlama {
    /// Loads a model, one tensor at a time.
    ///
    /// # Errors
    /// As [`Llama::load`](crate::Llama::load), and when weights cannot be packed in the format.
    pub fn load(checkpoint: &Checkpoint, weights: HostWeights) -> Result<Self, ModelError> {
        let config = config_of(checkpoint)?;
        let mut loader = Loader::new(checkpoint, &config, weights);
        let vocab = [config.vocab_size, config.d_model];
        let embedding = weights.of_embedding();
        // The largest first: what is on its way comes on top of the least then.
        let embed_tokens = loader.matrix("model.embed_tokens.weight", vocab, embedding)?;
        let lm_head = match config.tie_embeddings {
            true => None,
            false => Some(loader.matrix("lm_head.weight", vocab, embedding)?),
        };
        let layers: Result<_, _> = (0..config.n_layers).map(|i| loader.layer(i)).collect();
        Ok(Self {
            level: SimdLevel::current(),
            shape: AttentionShape::new(config.n_heads, config.n_kv_heads, config.head_dim)
                .with_window(config.sliding_window),
            inv_freq: inv_freq(
                config.rope_base,
                config.head_dim,
                config.rope_scaling.as_ref(),
            ),
            embed_tokens,
            layers: layers?,
            norm: loader.vector("model.norm.weight", config.d_model, "hidden_size")?,
            lm_head,
            adapter: None,
            config,
        })
    }
}

/// Reads the weights of a model with config `C`.
pub(super) struct Loader<'a, C = LlamaConfig> {
    checkpoint: &'a Checkpoint,
    pub(super) config: &'a C,
    pub(super) weights: HostWeights,
    /// Where all weights lie.
    arena: Arena,
}

/// A weight on its way from the checkpoint to panels.
pub(super) struct Source {
    pub(super) format: PanelFormat,
    values: Values,
}

enum Values {
    Dense(Vec<f32>),
    Packed(PackedMatrix),
}

impl Source {
    fn dense(format: PanelFormat, values: Vec<f32>) -> Self {
        Self {
            format,
            values: Values::Dense(values),
        }
    }

    /// In its own format, or in f32 where panels have none for it.
    fn packed(matrix: PackedMatrix) -> Self {
        match PanelFormat::of_packed(&matrix) {
            None => Self::dense(PanelFormat::F32, matrix.unpack()),
            Some(format) => Self {
                format,
                values: Values::Packed(matrix),
            },
        }
    }

    /// NF4 or FP4 to be multiplied in bf16.
    fn in_bf16(self) -> Self {
        let format = self.format.in_bf16();
        self.in_form(format)
    }

    /// The same to be laid out otherwise.
    fn in_form(self, format: PanelFormat) -> Self {
        Self { format, ..self }
    }

    fn rows(&self) -> WeightRows<'_> {
        match &self.values {
            Values::Dense(values) => WeightRows::Dense(values),
            Values::Packed(matrix) => WeightRows::Packed(matrix),
        }
    }
}

impl Loader<'_> {
    fn layer(&mut self, i: usize) -> Result<HostLayer, ModelError> {
        let config = self.config;
        let prefix = format!("model.layers.{i}.");
        let [qkv, o, gate_up, down] = Projection::of_layer(config);
        Ok(HostLayer {
            input_layernorm: self.norm(&prefix, "input_layernorm")?,
            qkv_proj: self.linear(&prefix, &qkv)?,
            o_proj: self.linear(&prefix, &o)?,
            post_attention_layernorm: self.norm(&prefix, "post_attention_layernorm")?,
            gate_up_proj: self.linear(&prefix, &gate_up)?,
            down_proj: self.linear(&prefix, &down)?,
        })
    }

    fn norm(&self, prefix: &str, name: &str) -> Result<Vec<f32>, ModelError> {
        let name = format!("{prefix}{name}.weight");
        self.vector(&name, self.config.d_model, "hidden_size")
    }
}

impl<'a, C> Loader<'a, C> {
    pub(super) fn new(checkpoint: &'a Checkpoint, config: &'a C, weights: HostWeights) -> Self {
        Self {
            checkpoint,
            config,
            weights,
            arena: Arena::of_weights(),
        }
    }

    /// Neighbours of one format become one matrix.
    fn linear(&mut self, prefix: &str, projection: &Projection) -> Result<HostLinear, ModelError> {
        let (mut sources, mut bias) = (Vec::new(), Vec::new());
        let d_in = projection.d_in;
        for (part, d_out) in &projection.parts {
            let name = format!("{prefix}{part}");
            sources.push(self.source(&format!("{name}.weight"), [*d_out, d_in], self.weights)?);
            if projection.has_bias {
                bias.extend(self.vector(&format!("{name}.bias"), *d_out, field_of(&name))?);
            }
        }
        let of_one_format = sources.chunk_by(|a, b| a.format == b.format);
        let matrices = of_one_format
            .map(|sources| self.lay_out(sources, d_in))
            .collect();
        Ok(HostLinear::new(matrices, bias))
    }

    pub(super) fn lay_out(&mut self, sources: &[Source], d_in: usize) -> PanelMatrix {
        let rows: Vec<WeightRows<'_>> = sources.iter().map(Source::rows).collect();
        PanelMatrix::from_rows(sources[0].format, &rows, d_in, &mut self.arena)
    }

    fn matrix(
        &mut self,
        name: &str,
        shape: [usize; 2],
        weights: HostWeights,
    ) -> Result<PanelMatrix, ModelError> {
        let source = self.source(name, shape, weights)?;
        Ok(self.lay_out(&[source], shape[1]))
    }

    pub(super) fn vector(
        &self,
        name: &str,
        len: usize,
        field: &'static str,
    ) -> Result<Vec<f32>, ModelError> {
        self.dense(name, &[len], field)
    }

    pub(super) fn dense(
        &self,
        name: &str,
        shape: &[usize],
        field: &'static str,
    ) -> Result<Vec<f32>, ModelError> {
        tensor_of_shape(self.checkpoint, name, shape, field)
    }

    pub(super) fn source(
        &self,
        name: &str,
        shape: [usize; 2],
        weights: HostWeights,
    ) -> Result<Source, ModelError> {
        let field = field_of(name.trim_end_matches(".weight"));
        let format = match (weights, self.checkpoint.storage(name)) {
            (HostWeights::F32, _) => PanelFormat::F32,
            (HostWeights::Bf16, _) => PanelFormat::Bf16,
            (HostWeights::Bf16Dot, _) => PanelFormat::Bf16Dot,
            (HostWeights::F16, _) => PanelFormat::F16,
            (HostWeights::Packed(format), _) => return self.packed(name, shape, format),
            (HostWeights::Int8Dot, _) => {
                let stored = self.checkpoint.packed(name)?;
                let stored = stored.filter(|packed| {
                    let found = [packed.n_rows(), packed.n_cols()];
                    packed.format() == PackedFormat::Int8Rowwise && found == shape
                });
                let source = match stored {
                    Some(packed) => Source::packed(packed),
                    None => self.packed(name, shape, PackedFormat::Int8Rowwise)?,
                };
                return Ok(source.in_form(PanelFormat::Int8Dot));
            }
            (HostWeights::Nf4Dot, _) => {
                let source = self.packed(name, shape, PackedFormat::Nf4)?;
                return Ok(source.in_bf16());
            }
            (HostWeights::Fp4Dot, _) => {
                let source = self.packed(name, shape, PackedFormat::Fp4)?;
                return Ok(source.in_bf16());
            }
            (HostWeights::Stored | HostWeights::Blocks, storage) => {
                if let Some(found) = self.checkpoint.shape(name) {
                    check_shape(name, &shape, &found, field)?;
                }
                let packed = match weights {
                    HostWeights::Blocks => self.checkpoint.blocks(name)?,
                    _ => self.checkpoint.packed(name)?,
                };
                if let Some(packed) = packed {
                    return Ok(Source::packed(packed));
                }
                match storage {
                    Some(Storage::Plain(Dtype::BF16)) => PanelFormat::Bf16,
                    Some(Storage::Plain(Dtype::F16) | Storage::Gguf(_)) => PanelFormat::F16,
                    _ => PanelFormat::F32,
                }
            }
        };
        let dense = self.dense(name, &shape, field)?;
        Ok(Source::dense(format, dense))
    }

    /// Packed now.
    fn packed(
        &self,
        name: &str,
        [n_out, n_in]: [usize; 2],
        format: PackedFormat,
    ) -> Result<Source, ModelError> {
        let field = field_of(name.trim_end_matches(".weight"));
        let dense = self.dense(name, &[n_out, n_in], field)?;
        let packed = PackedMatrix::pack(format, &dense, n_out, n_in);
        let packed = packed.map_err(|source| ModelError::Pack {
            name: name.to_owned(),
            source,
        })?;
        Ok(Source::packed(packed))
    }
}

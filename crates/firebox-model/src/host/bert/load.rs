//! From a checkpoint to an encoder in panels.

use firebox_checkpoint::Checkpoint;
use firebox_tensor::host::{LayerNorm, SimdLevel};

use super::{BertConfig, Dense, EncoderLayer, HostBert};
use crate::error::ModelError;
use crate::host::load::Loader;
use crate::host::weights::HostWeights;
use crate::load::check_layers;

impl HostBert {
    /// Loads an encoder, one tensor at a time. The pooler and heads of the checkpoint are left out.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a config that is no BERT encoder, [`ModelError::ShapeMismatch`] and
    /// [`ModelError::Checkpoint`] for weights that do not fit it, [`ModelError::Pack`] for weights
    /// that cannot be packed in the format.
    pub fn load(checkpoint: &Checkpoint, weights: HostWeights) -> Result<Self, ModelError> {
        let config = BertConfig::from_hf(checkpoint.config())?;
        // `BertModel` has these names, every other model of the family puts its own before them.
        let prefix = match checkpoint.shape("bert.embeddings.word_embeddings.weight") {
            Some(_) => "bert.",
            None => "",
        };
        let layers = format!("{prefix}encoder.layer.");
        check_layers(checkpoint, &layers, config.n_layers)?;
        let mut loader = BertLoader {
            loader: Loader::new(checkpoint, &config, weights),
            prefix,
        };
        let embedding = |loader: &BertLoader<'_>, name: &str, rows, field| {
            let name = format!("{prefix}embeddings.{name}_embeddings.weight");
            loader.loader.dense(&name, &[rows, config.d_model], field)
        };
        let (words, positions) = (config.vocab_size, config.max_seq_len);
        let word_embeddings = embedding(&loader, "word", words, "vocab_size")?;
        let position_embeddings =
            embedding(&loader, "position", positions, "max_position_embeddings")?;
        let mut token_type = embedding(
            &loader,
            "token_type",
            config.n_token_types,
            "type_vocab_size",
        )?;
        token_type.truncate(config.d_model);
        let norm = loader.norm("embeddings.LayerNorm")?;
        let layers: Result<_, _> = (0..config.n_layers).map(|i| loader.layer(i)).collect();
        Ok(Self {
            level: SimdLevel::current(),
            word_embeddings,
            position_embeddings,
            token_type,
            norm,
            layers: layers?,
            config,
        })
    }
}

struct BertLoader<'a> {
    loader: Loader<'a, BertConfig>,
    prefix: &'static str,
}

impl BertLoader<'_> {
    fn layer(&mut self, i: usize) -> Result<EncoderLayer, ModelError> {
        let (d_model, d_ff) = (self.loader.config.d_model, self.loader.config.d_ff);
        let name = |part: &str| format!("encoder.layer.{i}.{part}");
        let qkv = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
        Ok(EncoderLayer {
            qkv: self.dense(&qkv, [d_model, d_model])?,
            attention_output: self.dense(&[name("attention.output.dense")], [d_model, d_model])?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            intermediate: self.dense(&[name("intermediate.dense")], [d_ff, d_model])?,
            output: self.dense(&[name("output.dense")], [d_model, d_ff])?,
            output_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    fn norm(&self, name: &str) -> Result<LayerNorm, ModelError> {
        let config = self.loader.config;
        let vector = |part: &str| {
            let name = format!("{}{name}.{part}", self.prefix);
            self.loader.vector(&name, config.d_model, "hidden_size")
        };
        Ok(LayerNorm {
            gamma: vector("weight")?,
            beta: vector("bias")?,
            eps: config.layer_norm_eps as f32,
        })
    }

    /// Parts of one shape that read the same rows, as one weight.
    fn dense(&mut self, parts: &[String], [d_out, d_in]: [usize; 2]) -> Result<Dense, ModelError> {
        let (mut sources, mut bias) = (Vec::new(), Vec::new());
        for part in parts {
            let name = format!("{}{part}", self.prefix);
            let weight = format!("{name}.weight");
            let weights = self.loader.weights;
            sources.push(self.loader.source(&weight, [d_out, d_in], weights)?);
            let field = if d_out == d_in {
                "hidden_size"
            } else {
                "intermediate_size"
            };
            bias.extend(self.loader.vector(&format!("{name}.bias"), d_out, field)?);
        }
        if sources.iter().any(|part| part.format != sources[0].format) {
            // Stored in several ways.
            for (source, part) in sources.iter_mut().zip(parts) {
                let weight = format!("{}{part}.weight", self.prefix);
                *source = self
                    .loader
                    .source(&weight, [d_out, d_in], HostWeights::F32)?;
            }
        }
        Ok(Dense {
            weight: self.loader.lay_out(&sources, d_in),
            bias,
        })
    }
}

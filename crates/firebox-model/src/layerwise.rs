//! A decoder read from its checkpoint one layer at a time, for those who look at what each weight is
//! multiplied with: calibration in the memory of one layer.

mod head;
mod producer;

use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::Checkpoint;
use firebox_tensor::kernels::in_pool;

pub use self::head::DecoderHead;
pub use self::producer::Producer;

use crate::attention::Positions;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::linear::Linear;
use crate::llama::DecoderLayer;
use crate::load::{config_of, load_layer, tensor_of_shape};
use crate::rms_norm::RmsNorm;
use crate::rope::inv_freq;

/// Sees the inputs of a layer's weights, and may change the weights: those after them then see what
/// the changed ones compute.
pub trait LayerVisitor: Send {
    /// What ends the pass.
    type Error: From<ModelError> + Send;

    /// Rows that the weights of the next call of [`Self::weights`] are multiplied with, `[rows, in]`;
    /// once for each text.
    ///
    /// # Errors
    /// What ends the pass.
    fn rows(&mut self, x: Tensor<2>) -> Result<(), Self::Error>;

    /// The weights that all the rows seen since the last call belong to, with their names in the
    /// checkpoint, without `.weight`, and where the rows came from.
    ///
    /// # Errors
    /// What ends the pass.
    fn weights(
        &mut self,
        producer: Producer<'_>,
        weights: &mut [(String, &mut Linear)],
    ) -> Result<(), Self::Error>;
}

/// A decoder in its checkpoint, of which one layer is in memory at a time.
#[derive(Debug)]
pub struct LayerwiseLlama<'a> {
    checkpoint: &'a Checkpoint,
    config: LlamaConfig,
    inv_freq: Vec<f64>,
    device: Device,
}

impl<'a> LayerwiseLlama<'a> {
    /// A decoder whose weights stay in the checkpoint.
    ///
    /// # Errors
    /// As [`Llama::load`](crate::Llama::load).
    pub fn new(checkpoint: &'a Checkpoint, device: &Device) -> Result<Self, ModelError> {
        let config = config_of(checkpoint)?;
        let scaling = config.rope_scaling.as_ref();
        Ok(Self {
            inv_freq: inv_freq(config.rope_base, config.head_dim, scaling),
            device: device.clone(),
            checkpoint,
            config,
        })
    }

    /// The sizes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The residual stream of each text before the first layer, `[1, tokens, d_model]`.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`]; [`ModelError::PromptTooLong`] past the context;
    /// [`ModelError::Empty`] for a text without tokens.
    pub fn embed(&self, texts: &[Vec<u32>]) -> Result<Vec<Tensor<3>>, ModelError> {
        for text in texts {
            if text.is_empty() {
                return Err(ModelError::Empty { what: "text" });
            }
            self.config.check_context(text.len())?;
            self.config.check_ids(text)?;
        }
        let shape = [self.config.vocab_size, self.config.d_model];
        let name = "model.embed_tokens.weight";
        let table = tensor_of_shape(self.checkpoint, name, &shape, "vocab_size")?;
        Ok(self.embed_with(&table, texts))
    }

    /// As [`Self::embed`], by a table of one's own, `[vocab, d_model]`.
    ///
    /// # Panics
    /// For ids that the table has not.
    pub fn embed_with(&self, table: &[f32], texts: &[Vec<u32>]) -> Vec<Tensor<3>> {
        let d_model = self.config.d_model;
        let embedded = texts.iter().map(|text| {
            let rows = text
                .iter()
                .map(|id| &table[*id as usize * d_model..][..d_model]);
            let rows = rows.collect::<Vec<_>>().concat();
            Tensor::from_data(
                TensorData::new(rows, [1, text.len(), d_model]),
                &self.device,
            )
        });
        embedded.collect()
    }

    /// Reads layer `i`.
    ///
    /// # Errors
    /// As [`Llama::load`](crate::Llama::load).
    pub fn layer(&self, i: usize) -> Result<DecoderLayer, ModelError> {
        load_layer(self.checkpoint, &self.config, i, &self.device)
    }

    /// Takes the residual streams through layer `i`, and lets `visitor` see what each of its weights is
    /// multiplied with.
    ///
    /// The steps of the feed-forward block are computed twice, so that no `[tokens, d_ff]` is held for
    /// more than one text.
    ///
    /// # Errors
    /// Those of `visitor`.
    pub fn visit<V: LayerVisitor>(
        &self,
        i: usize,
        layer: &mut DecoderLayer,
        states: &mut [Tensor<3>],
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        in_pool(&self.device, || {
            self.visit_in_pool(i, layer, states, visitor)
        })
    }

    fn visit_in_pool<V: LayerVisitor>(
        &self,
        i: usize,
        layer: &mut DecoderLayer,
        states: &mut [Tensor<3>],
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let name = |part: &str| format!("model.layers.{i}.{part}");
        let normed = |norm: &RmsNorm, x: &Tensor<3>| norm.forward(x.clone());
        let (norm, attention) = (&mut layer.input_layernorm, &mut layer.self_attn);
        for x in states.iter() {
            visitor.rows(flat(normed(norm, x)))?;
        }
        visitor.weights(
            Producer::norm(norm),
            &mut [
                (name("self_attn.q_proj"), &mut attention.q_proj),
                (name("self_attn.k_proj"), &mut attention.k_proj),
                (name("self_attn.v_proj"), &mut attention.v_proj),
            ],
        )?;
        let mut contexts = Vec::with_capacity(states.len());
        for x in states.iter() {
            let positions = self.positions(x.dims()[1]);
            let context = attention.context(normed(norm, x), &positions, None);
            visitor.rows(flat(context.clone()))?;
            contexts.push(context);
        }
        let heads = [attention.n_heads, attention.n_kv_heads, attention.head_dim];
        visitor.weights(
            Producer::values(&mut attention.v_proj, heads),
            &mut [(name("self_attn.o_proj"), &mut attention.o_proj)],
        )?;
        for (x, context) in states.iter_mut().zip(contexts) {
            *x = x.clone() + attention.o_proj.forward(context);
        }
        let (norm, mlp) = (&mut layer.post_attention_layernorm, &mut layer.mlp);
        for x in states.iter() {
            visitor.rows(flat(normed(norm, x)))?;
        }
        visitor.weights(
            Producer::norm(norm),
            &mut [
                (name("mlp.gate_proj"), &mut mlp.gate_proj),
                (name("mlp.up_proj"), &mut mlp.up_proj),
            ],
        )?;
        for x in states.iter() {
            visitor.rows(flat(mlp.gated(normed(norm, x))))?;
        }
        visitor.weights(
            Producer::rows(&mut mlp.up_proj),
            &mut [(name("mlp.down_proj"), &mut mlp.down_proj)],
        )?;
        for x in states.iter_mut() {
            *x = x.clone() + mlp.forward(normed(norm, x));
        }
        Ok(())
    }

    /// Takes one residual stream, `[1, tokens, d_model]`, through a layer.
    pub fn run(&self, layer: &DecoderLayer, x: &Tensor<3>) -> Tensor<3> {
        in_pool(&self.device, || {
            layer.forward(x.clone(), &self.positions(x.dims()[1]), None)
        })
    }

    fn positions(&self, seq: usize) -> Positions {
        let positions = Positions::new(&self.inv_freq, 0, seq, &self.device);
        positions.with_window(self.config.sliding_window)
    }
}

/// `[batch, seq, width]` to `[batch * seq, width]`.
fn flat(x: Tensor<3>) -> Tensor<2> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch * seq, width])
}

#[cfg(test)]
mod tests;

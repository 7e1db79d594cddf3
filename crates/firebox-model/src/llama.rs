//! The decoder: embedding, layers, final norm, head.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use firebox_tensor::kernels::{MatmulPrecision, linear};

use crate::attention::{Attention, Positions};
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::kv_cache::{KvCache, LayerCache};
use crate::linear::Linear;
use crate::rms_norm::RmsNorm;
use crate::rope::inv_freq;
use crate::swiglu::SwiGlu;

/// A Llama-family decoder.
///
/// Source: Touvron et al. (2023), section 2.2, <https://arxiv.org/abs/2302.13971>.
#[derive(Module, Debug)]
pub struct Llama {
    /// Token embedding, `[vocab, d_model]`.
    pub embed_tokens: Param<Tensor<2>>,
    /// The layers, first to last.
    pub layers: Vec<DecoderLayer>,
    /// The norm before the head.
    pub norm: RmsNorm,
    /// `[vocab, d_model]`; `None` when the head is the embedding.
    pub lm_head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    pub(crate) config: LlamaConfig,
    #[module(skip)]
    inv_freq: Vec<f64>,
    /// In what the head is multiplied.
    #[module(skip)]
    pub(crate) precision: MatmulPrecision,
    /// Whether losses are computed layer by layer, in less memory.
    #[module(skip)]
    pub(crate) checkpoints_activations: bool,
    /// Modules that train whole beside an adapter, by PEFT's names.
    #[module(skip)]
    pub(crate) whole: Vec<String>,
}

/// Attention and feed-forward, each behind a norm and added to the residual stream.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Norm before attention.
    pub input_layernorm: RmsNorm,
    /// Attention.
    pub self_attn: Attention,
    /// Norm before the feed-forward block.
    pub post_attention_layernorm: RmsNorm,
    /// Feed-forward.
    pub mlp: SwiGlu,
}

impl DecoderLayer {
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        positions: &Positions,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let attended =
            self.self_attn
                .forward(self.input_layernorm.forward(x.clone()), positions, cache);
        let x = x + attended;
        let fed = self
            .mlp
            .forward(self.post_attention_layernorm.forward(x.clone()));
        x + fed
    }
}

impl Llama {
    pub(crate) fn from_parts(
        config: LlamaConfig,
        embed_tokens: Tensor<2>,
        layers: Vec<DecoderLayer>,
        norm: RmsNorm,
        lm_head: Option<Tensor<2>>,
    ) -> Self {
        Self {
            embed_tokens: Param::from_tensor(embed_tokens),
            layers,
            norm,
            lm_head: lm_head.map(Param::from_tensor),
            precision: MatmulPrecision::F32,
            checkpoints_activations: false,
            whole: Vec::new(),
            inv_freq: inv_freq(
                config.rope_base,
                config.head_dim,
                config.rope_scaling.as_ref(),
            ),
            config,
        }
    }

    /// The sizes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The device that the weights are on.
    pub fn device(&self) -> Device {
        self.embed_tokens.val().device().inner()
    }

    /// Weight of the output head, `[vocab, d_model]`.
    pub fn lm_head_weight(&self) -> Tensor<2> {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens).val()
    }

    /// Hidden states after the final norm: `[batch, seq]` to `[batch, seq, d_model]`.
    pub fn hidden(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let positions = self.positions(0, &ids);
        self.hidden_at(ids, &positions)
    }

    /// As [`Llama::hidden`] for rows into which documents are packed: `cu_seqlens` has the place of
    /// each document's first token among the `batch * seq` tokens, and then their number. A document
    /// sees only itself, from position 0 on, and none reaches over the end of a row.
    ///
    /// # Panics
    /// When `cu_seqlens` is not that of the rows.
    pub fn hidden_packed(&self, ids: Tensor<2, Int>, cu_seqlens: &[usize]) -> Tensor<3> {
        let positions = self.positions(0, &ids).packed(cu_seqlens);
        self.hidden_at(ids, &positions)
    }

    pub(crate) fn hidden_at(&self, ids: Tensor<2, Int>, positions: &Positions) -> Tensor<3> {
        let mut x = self.embed(ids);
        for layer in &self.layers {
            x = layer.forward(x, positions, None);
        }
        self.norm.forward(x)
    }

    /// As [`Llama::hidden`], for the tokens that follow those in `cache`, which learns them.
    pub fn hidden_cached(&self, ids: Tensor<2, Int>, cache: &mut KvCache) -> Tensor<3> {
        let positions = self.positions(cache.len(), &ids);
        let [_, seq] = ids.dims();
        let mut x = self.embed(ids);
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &positions, Some(cache.layer_mut(i)));
        }
        cache.advance(seq);
        self.norm.forward(x)
    }

    /// The residual stream after the embedding and after each layer, `n_layers + 1` tensors
    /// `[batch, seq, d_model]`; the last one before the final norm.
    pub fn hidden_states(&self, ids: Tensor<2, Int>) -> Vec<Tensor<3>> {
        let positions = self.positions(0, &ids);
        let mut states = vec![self.embed(ids)];
        for layer in &self.layers {
            let x = states[states.len() - 1].clone();
            states.push(layer.forward(x, &positions, None));
        }
        states
    }

    /// Logits of every position: `[batch, seq]` to `[batch, seq, vocab]`. For one position or a
    /// loss, see [`Llama::head`] and [`Llama::loss`], which hold less.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let hidden = self.hidden(ids);
        let [batch, seq, d_model] = hidden.dims();
        let logits = self.head(hidden.reshape([batch * seq, d_model]));
        logits.reshape([batch, seq, self.config.vocab_size])
    }

    /// Logits of hidden states: `[rows, d_model]` to `[rows, vocab]`.
    pub fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        linear(hidden, self.lm_head_weight(), self.precision)
    }

    pub(crate) fn positions(&self, start: usize, ids: &Tensor<2, Int>) -> Positions {
        let positions = Positions::new(&self.inv_freq, start, ids.dims()[1], &self.device());
        positions.with_window(self.config.sliding_window)
    }

    pub(crate) fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, seq] = ids.dims();
        let ids = ids.reshape([batch * seq]);
        let rows = firebox_tensor::kernels::embedding(self.embed_tokens.val(), ids);
        rows.reshape([batch, seq, self.config.d_model])
    }

    /// Rows of ids, all of one length, as a tensor on the model's device.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`] for an id past the embedding, [`ModelError::Empty`] when
    /// there is nothing.
    pub fn ids_tensor(&self, rows: &[impl AsRef<[u32]>]) -> Result<Tensor<2, Int>, ModelError> {
        let seq = rows.first().map_or(0, |row| row.as_ref().len());
        if seq == 0 {
            return Err(ModelError::Empty { what: "input" });
        }
        let mut flat = Vec::with_capacity(rows.len() * seq);
        for row in rows {
            debug_assert_eq!(row.as_ref().len(), seq, "rows of one length");
            self.config.check_ids(row.as_ref())?;
            flat.extend(row.as_ref().iter().map(|&id| i64::from(id)));
        }
        Ok(Tensor::from_data(
            TensorData::new(flat, [rows.len(), seq]),
            &self.device(),
        ))
    }

    /// Every linear layer inside the decoder with its checkpoint name, without `.weight`.
    pub fn linears(&self) -> Vec<(String, &Linear)> {
        let layers = self.layers.iter().enumerate();
        layers.flat_map(|(i, layer)| layer.linears(i)).collect()
    }

    /// As [`Llama::linears`], to change them.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let layers = self.layers.iter_mut().enumerate();
        layers.flat_map(|(i, layer)| layer.linears_mut(i)).collect()
    }
}

impl DecoderLayer {
    /// The linear layers of layer `i` with their checkpoint names, without `.weight`.
    pub fn linears(&self, i: usize) -> [(String, &Linear); 7] {
        let (attn, mlp) = (&self.self_attn, &self.mlp);
        [
            (format!("model.layers.{i}.self_attn.q_proj"), &attn.q_proj),
            (format!("model.layers.{i}.self_attn.k_proj"), &attn.k_proj),
            (format!("model.layers.{i}.self_attn.v_proj"), &attn.v_proj),
            (format!("model.layers.{i}.self_attn.o_proj"), &attn.o_proj),
            (format!("model.layers.{i}.mlp.gate_proj"), &mlp.gate_proj),
            (format!("model.layers.{i}.mlp.up_proj"), &mlp.up_proj),
            (format!("model.layers.{i}.mlp.down_proj"), &mlp.down_proj),
        ]
    }

    /// As [`DecoderLayer::linears`], to change them.
    pub fn linears_mut(&mut self, i: usize) -> [(String, &mut Linear); 7] {
        let names = self.linears(i).map(|(name, _)| name);
        let (attn, mlp) = (&mut self.self_attn, &mut self.mlp);
        let linears = [
            &mut attn.q_proj,
            &mut attn.k_proj,
            &mut attn.v_proj,
            &mut attn.o_proj,
            &mut mlp.gate_proj,
            &mut mlp.up_proj,
            &mut mlp.down_proj,
        ];
        let mut linears = linears.into_iter();
        names.map(|name| (name, linears.next().expect("seven of each")))
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The end of a decoder: its last norm and its head.

use burn::tensor::{Tensor, TensorData};
use firebox_tensor::kernels::in_pool;

use super::{LayerVisitor, LayerwiseLlama, Producer, flat};
use crate::error::ModelError;
use crate::linear::Linear;
use crate::load::tensor_of_shape;
use crate::rms_norm::RmsNorm;

/// The last norm and the head, in memory.
#[derive(Debug)]
pub struct DecoderHead {
    /// The norm before the head.
    pub norm: RmsNorm,
    /// `[vocab, d_model]`; the embedding where they are one.
    pub lm_head: Linear,
}

impl LayerwiseLlama<'_> {
    /// Reads the last norm and the head.
    ///
    /// # Errors
    /// As [`Llama::load`](crate::Llama::load).
    pub fn head(&self) -> Result<DecoderHead, ModelError> {
        let (config, device) = (&self.config, &self.device);
        let name = match config.tie_embeddings {
            true => "model.embed_tokens.weight",
            false => "lm_head.weight",
        };
        let shape = [config.vocab_size, config.d_model];
        let weight = tensor_of_shape(self.checkpoint, name, &shape, "vocab_size")?;
        let gains = tensor_of_shape(
            self.checkpoint,
            "model.norm.weight",
            &[config.d_model],
            "hidden_size",
        )?;
        let mut norm = RmsNorm::new(config.d_model, config.rms_eps, device);
        let gains = Tensor::from_data(TensorData::new(gains, [config.d_model]), device);
        norm.gamma = burn::module::Param::from_tensor(gains);
        let weight = Tensor::from_data(TensorData::new(weight, shape), device);
        Ok(DecoderHead {
            norm,
            lm_head: Linear::dense(weight, None),
        })
    }

    /// Logits of a residual stream after the last layer: `[1, tokens, d_model]` to `[tokens, vocab]`.
    pub fn logits(&self, head: &DecoderHead, x: &Tensor<3>) -> Tensor<2> {
        in_pool(&self.device, || {
            let logits = head.lm_head.forward(head.norm.forward(x.clone()));
            flat(logits)
        })
    }

    /// Lets `visitor` see what the head is multiplied with after the last layer.
    ///
    /// # Errors
    /// Those of `visitor`.
    pub fn visit_head<V: LayerVisitor>(
        &self,
        head: &mut DecoderHead,
        states: &[Tensor<3>],
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        in_pool(&self.device, || {
            for x in states {
                visitor.rows(flat(head.norm.forward(x.clone())))?;
            }
            let producer = Producer::norm("model.norm".to_owned(), &mut head.norm);
            let name = match self.config.tie_embeddings {
                true => "model.embed_tokens",
                false => "lm_head",
            };
            visitor.weights(producer, &mut [(name.to_owned(), &mut head.lm_head)])
        })
    }
}

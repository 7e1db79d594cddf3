//! The end of a decoder: its last norm and its head.

use burn::tensor::Tensor;
use firebox_tensor::kernels::in_pool;

use super::{LayerVisitor, LayerwiseLlama, Producer, flat};
use crate::error::ModelError;
use crate::linear::Linear;
use crate::load::load_head;
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
        load_head(
            self.checkpoint,
            &self.config,
            self.head_name(),
            &self.device,
        )
    }

    /// The weight of the head in the checkpoint, without `.weight`.
    fn head_name(&self) -> &'static str {
        match self.config.tie_embeddings {
            true => "model.embed_tokens",
            false => "lm_head",
        }
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
            let name = self.head_name().to_owned();
            visitor.weights(
                Producer::norm(&mut head.norm),
                &mut [(name, &mut head.lm_head)],
            )
        })
    }
}

//! An adapter's update added to the weights, and taken off again.

use burn::module::Param;
use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::linear::{Linear, Weight};
use crate::llama::Llama;

impl Llama {
    /// Adds every adapter's update to its weight. The side paths rest until [`Llama::unmerge`];
    /// the weights as they were are kept, so that unmerging is exact.
    ///
    /// # Errors
    /// [`ModelError::Lora`] when an adapted layer's weight is packed; nothing is merged then.
    pub fn merge(&mut self) -> Result<(), ModelError> {
        let adapted = self
            .linears()
            .into_iter()
            .filter(|(_, linear)| linear.lora.is_some());
        for (name, linear) in adapted {
            if let Weight::Packed(_) = &linear.weight {
                return Err(ModelError::Lora {
                    what: format!(
                        "layer `{name}`: expected a dense weight to merge into, found a packed one"
                    ),
                    hint: "merge into the model as it was before quantizing".into(),
                });
            }
        }
        for (_, linear) in self.linears_mut() {
            let Linear { weight, lora, .. } = linear;
            if let Some(lora) = lora
                && lora.unmerged.is_none()
            {
                let device = lora.lora_a.val().device().inner();
                let merged = frozen(lora.merged(weight, &device));
                lora.unmerged = Some(std::mem::replace(weight, Weight::Dense(merged)));
            }
        }
        Ok(())
    }

    /// Gives every weight back the value it had before [`Llama::merge`].
    pub fn unmerge(&mut self) {
        for (_, linear) in self.linears_mut() {
            let lora = linear.lora.as_mut();
            if let Some(unmerged) = lora.and_then(|lora| lora.unmerged.take()) {
                linear.weight = unmerged;
            }
        }
    }

    /// Merges, and forgets the adapter and the weights as they were. The weights stay frozen, as
    /// the adapter left them; `set_require_grad(true)` trains them.
    ///
    /// # Errors
    /// As [`Llama::merge`].
    pub fn into_merged(mut self) -> Result<Self, ModelError> {
        self.merge()?;
        for (_, linear) in self.linears_mut() {
            linear.lora = None;
        }
        self.whole.clear();
        Ok(self)
    }
}

fn frozen(weight: Tensor<2>) -> Param<Tensor<2>> {
    Param::from_tensor(weight).set_require_grad(false)
}

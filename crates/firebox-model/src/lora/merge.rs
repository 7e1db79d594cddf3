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
            if let Linear {
                weight: Weight::Dense(weight),
                lora: Some(lora),
                ..
            } = linear
                && lora.unmerged.is_none()
            {
                lora.unmerged = Some(weight.clone());
                let dense = Weight::Dense(weight.clone());
                *weight = frozen(lora.merged(&dense, &weight.val().device().inner()));
            }
        }
        Ok(())
    }

    /// Gives every weight back the value it had before [`Llama::merge`].
    pub fn unmerge(&mut self) {
        for (_, linear) in self.linears_mut() {
            let Linear {
                weight: Weight::Dense(weight),
                lora: Some(lora),
                ..
            } = linear
            else {
                continue;
            };
            if let Some(unmerged) = lora.unmerged.take() {
                *weight = unmerged;
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

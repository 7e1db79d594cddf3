//! Every dense weight under its checkpoint name, for writing.

use burn::tensor::Tensor;

use crate::linear::{Linear, Weight, host_f32};
use crate::llama::Llama;

/// One floating-point weight of a model.
#[derive(Debug, Clone)]
pub struct NamedWeight {
    /// Its name in a checkpoint.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    values: Tensor<1>,
}

impl NamedWeight {
    pub(crate) fn new<const D: usize>(name: impl Into<String>, tensor: Tensor<D>) -> Self {
        let shape = tensor.dims().to_vec();
        let n = shape.iter().product::<usize>();
        Self {
            name: name.into(),
            shape,
            values: tensor.inner().reshape([n]),
        }
    }

    /// The values in row-major order.
    pub fn values(&self) -> Vec<f32> {
        host_f32(self.values.clone())
    }
}

impl Llama {
    /// The weights as a checkpoint holds them, packed ones unpacked, adapters left out.
    pub fn named_weights(&self) -> Vec<NamedWeight> {
        let mut weights = vec![NamedWeight::new(
            "model.embed_tokens.weight",
            self.embed_tokens.val(),
        )];
        for (i, layer) in self.layers.iter().enumerate() {
            let norms = [
                ("input_layernorm", &layer.input_layernorm),
                ("post_attention_layernorm", &layer.post_attention_layernorm),
            ];
            for (name, norm) in norms {
                let name = format!("model.layers.{i}.{name}.weight");
                weights.push(NamedWeight::new(name, norm.gamma.val()));
            }
        }
        weights.push(NamedWeight::new("model.norm.weight", self.norm.gamma.val()));
        if let Some(head) = &self.lm_head {
            weights.push(NamedWeight::new("lm_head.weight", head.val()));
        }
        for (name, linear) in self.linears() {
            self.add_linear(&name, linear, &mut weights);
        }
        weights
    }

    fn add_linear(&self, name: &str, linear: &Linear, weights: &mut Vec<NamedWeight>) {
        let weight = match &linear.weight {
            Weight::Dense(weight) => weight.val(),
            packed @ Weight::Packed(_) => packed.to_dense(&self.device()),
        };
        weights.push(NamedWeight::new(format!("{name}.weight"), weight));
        if let Some(bias) = &linear.bias {
            weights.push(NamedWeight::new(format!("{name}.bias"), bias.val()));
        }
    }
}

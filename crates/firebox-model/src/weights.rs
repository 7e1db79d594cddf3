//! Every dense weight under its checkpoint name, for writing.

use burn::tensor::{Device, Tensor};
use firebox_checkpoint::{CheckpointError, Dtype, HfWriter};

use crate::linear::host_f32;
use crate::llama::{DecoderLayer, Llama};

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

    /// Writes all weights of a model in one dtype, and ends its files.
    ///
    /// # Errors
    /// Those of [`HfWriter`].
    pub fn write_all(
        weights: &[Self],
        mut writer: HfWriter,
        dtype: Dtype,
    ) -> Result<(), CheckpointError> {
        for weight in weights {
            writer.declare(&weight.name, dtype, &weight.shape)?;
        }
        for weight in weights {
            writer.write_tensor(&weight.name, &weight.values())?;
        }
        writer.finish()
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
            weights.extend(layer.named_weights(i, &self.device()));
        }
        weights.push(NamedWeight::new("model.norm.weight", self.norm.gamma.val()));
        if let Some(head) = &self.lm_head {
            weights.push(NamedWeight::new("lm_head.weight", head.val()));
        }
        weights
    }
}

impl DecoderLayer {
    /// The weights of layer `i` as a checkpoint holds them, packed ones unpacked on `device`, adapters left
    /// out.
    pub fn named_weights(&self, i: usize, device: &Device) -> Vec<NamedWeight> {
        let norms = [
            ("input_layernorm", &self.input_layernorm),
            ("post_attention_layernorm", &self.post_attention_layernorm),
        ];
        let mut weights: Vec<NamedWeight> = norms
            .into_iter()
            .map(|(name, norm)| {
                let name = format!("model.layers.{i}.{name}.weight");
                NamedWeight::new(name, norm.gamma.val())
            })
            .collect();
        for (name, linear) in self.linears(i) {
            let weight = linear.weight.to_dense(device);
            weights.push(NamedWeight::new(format!("{name}.weight"), weight));
            if let Some(bias) = &linear.bias {
                weights.push(NamedWeight::new(format!("{name}.bias"), bias.val()));
            }
        }
        weights
    }
}

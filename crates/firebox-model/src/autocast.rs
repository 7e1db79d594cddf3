//! Which parts of a decoder run in which precision.

use firebox_tensor::autocast::{Autocast, Op};

use crate::error::ModelError;
use crate::llama::Llama;
use crate::lora::matches;

/// The head as a region's pattern names it, also where it is the embedding.
const HEAD: &str = "lm_head";

impl Llama {
    /// The same model whose weights, the head's too, are multiplied as the policy says. Weights,
    /// activations between products, norms, attention and losses stay f32, on every device: no less
    /// than the policy asks for.
    #[must_use]
    pub fn with_autocast(mut self, autocast: Autocast) -> Self {
        self.precision = autocast.precision(Op::Linear);
        for (_, linear) in self.linears_mut() {
            linear.precision = autocast.precision(Op::Linear);
        }
        self
    }

    /// A region with a policy of its own inside the model: the linear layers that one of `modules`
    /// names, and the head as `lm_head`. A module is a last name (`down_proj`) or a pattern over the
    /// whole name in which `*` stands for anything (`model.layers.0.*`).
    ///
    /// # Errors
    /// [`ModelError::Region`] when one of `modules` names nothing.
    pub fn with_autocast_in(
        mut self,
        modules: &[impl AsRef<str>],
        autocast: Autocast,
    ) -> Result<Self, ModelError> {
        let precision = autocast.precision(Op::Linear);
        for module in modules {
            let module = module.as_ref();
            let names_head = matches(module, HEAD);
            if names_head {
                self.precision = precision;
            }
            let mut n_named = usize::from(names_head);
            for (name, linear) in self.linears_mut() {
                if matches(module, &name) {
                    linear.precision = precision;
                    n_named += 1;
                }
            }
            if n_named == 0 {
                return Err(ModelError::Region {
                    module: module.to_owned(),
                });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use firebox_tensor::kernels::MatmulPrecision;

    use super::*;
    use crate::LlamaConfig;

    fn precisions(model: &Llama, n_bf16: usize) {
        let linears = model.linears();
        let bf16 = linears
            .iter()
            .filter(|(_, linear)| linear.precision == MatmulPrecision::Bf16);
        assert_eq!(bf16.count(), n_bf16);
    }

    #[test]
    fn regions_keep_a_policy_of_their_own() {
        let device = Device::flex();
        let bf16 = Autocast::new(MatmulPrecision::Bf16, &device);
        let exact = Autocast::disabled(&device);
        let model = LlamaConfig::new(32, 16, 24, 2, 2)
            .init(1, &device)
            .with_autocast(bf16);
        precisions(&model, 14);
        let model = model
            .with_autocast_in(&["down_proj", "model.layers.0.*", "lm_head"], exact)
            .unwrap();
        precisions(&model, 6);
        assert_eq!(model.precision, MatmulPrecision::F32);
        // A region inside a region.
        let model = model
            .with_autocast_in(&["model.layers.0.mlp.*"], bf16)
            .unwrap();
        precisions(&model, 9);
        let error = model.with_autocast_in(&["up_prj"], exact).unwrap_err();
        assert!(error.to_string().contains("`up_prj`"), "{error}");
    }
}

//! Modules that train whole beside the adapters.

use burn::module::Param;
use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::llama::Llama;

/// The modules that may, by PEFT's names, and where their weight lies in a checkpoint.
pub(super) const WHOLE: [(&str, &str); 3] = [
    ("lm_head", "lm_head.weight"),
    ("embed_tokens", "model.embed_tokens.weight"),
    ("norm", "model.norm.weight"),
];

/// What PEFT is told: it looks for modules whose name ends so, and every norm's does in `norm`.
pub(super) fn peft_module(module: &str) -> String {
    match module {
        "norm" => "model.norm".to_owned(),
        other => other.to_owned(),
    }
}

/// The module of ours that PEFT calls so.
pub(super) fn own_module(module: &str) -> String {
    module.strip_prefix("model.").unwrap_or(module).to_owned()
}

impl Llama {
    /// Lets these modules train.
    pub(super) fn train_whole(&mut self, modules: &[String]) -> Result<(), ModelError> {
        for module in modules {
            let trained = match module.as_str() {
                "lm_head" => self
                    .lm_head
                    .take()
                    .map(|head| self.lm_head = Some(trains(head))),
                "embed_tokens" => {
                    self.embed_tokens = trains(self.embed_tokens.clone());
                    Some(())
                }
                "norm" => {
                    self.norm.gamma = trains(self.norm.gamma.clone());
                    Some(())
                }
                _ => None,
            };
            if trained.is_none() {
                return Err(ModelError::Lora {
                    what: format!("`modules_to_save`: the model has no `{module}` to train whole"),
                    hint: "they are `lm_head` (where it is not the embedding), `embed_tokens` and \
                           `norm`"
                        .into(),
                });
            }
        }
        self.whole = modules.to_vec();
        Ok(())
    }

    /// The modules that train whole: name, shape and values.
    pub(super) fn whole_modules(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let of = |module: &String| {
            let (shape, values) = match module.as_str() {
                "norm" => host(self.norm.gamma.val()),
                "embed_tokens" => host(self.embed_tokens.val()),
                _ => host(self.lm_head_weight()),
            };
            (module.clone(), shape, values)
        };
        self.whole.iter().map(of).collect()
    }
}

fn trains<const D: usize>(param: Param<Tensor<D>>) -> Param<Tensor<D>> {
    param.set_require_grad(true)
}

fn host<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    (
        tensor.dims().to_vec(),
        crate::linear::host_f32(tensor.inner()),
    )
}

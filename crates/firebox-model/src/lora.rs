//! Low-rank adapters as a side path: attach, merge, unmerge, save, load.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{Adapter, AdapterConfig, HostTensor};
use firebox_tensor::random::CounterRng;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::linear::{Linear, Weight, host_f32};
use crate::llama::Llama;

/// PEFT puts this before every name of the base model.
const PEFT_PREFIX: &str = "base_model.model.";

/// What to adapt, and how strongly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Layers to adapt: a last name (`q_proj`), or a pattern over the whole name in which `*`
    /// stands for anything (`model.layers.1*.mlp.*`).
    pub targets: Vec<String>,
}

/// The factors of one adapted layer: `ΔW = scale · B A`.
///
/// Source: Hu et al. (2021), section 4.1, <https://arxiv.org/abs/2106.09685>.
#[derive(Module, Debug)]
pub struct LoraFactors {
    /// `[rank, in]`, starts random.
    pub a: Param<Tensor<2>>,
    /// `[out, rank]`, starts at zero, so that a fresh adapter changes nothing.
    pub b: Param<Tensor<2>>,
    /// `alpha / rank`.
    pub scale: f64,
    /// The weight as it was before the merge, while merged. Keeps unmerging exact.
    unmerged: Option<Param<Tensor<2>>>,
}

impl LoraFactors {
    fn new(a: Tensor<2>, b: Tensor<2>, scale: f64) -> Self {
        Self {
            a: Param::from_tensor(a),
            b: Param::from_tensor(b),
            scale,
            unmerged: None,
        }
    }

    /// Kaiming-uniform A with `a = sqrt(5)`, that is `U(-1/sqrt(in), 1/sqrt(in))`, and B = 0, as
    /// PEFT starts them.
    fn init(
        [d_out, d_in]: [usize; 2],
        config: &LoraConfig,
        rng: &mut CounterRng,
        device: &Device,
    ) -> Self {
        let bound = 1.0 / (d_in as f32).sqrt();
        let a = (0..config.rank * d_in).map(|_| (rng.uniform() * 2.0 - 1.0) * bound);
        let a = TensorData::new(a.collect::<Vec<f32>>(), [config.rank, d_in]);
        Self::new(
            Tensor::from_data(a, device),
            Tensor::zeros([d_out, config.rank], device),
            config.alpha / config.rank as f64,
        )
    }

    /// The side path: `[rows, in]` to `[rows, out]`; the product `B A` is never formed.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let down = x.matmul(self.a.val().transpose()); // [rows, rank]
        down.matmul(self.b.val().transpose()).mul_scalar(self.scale) // [rows, out]
    }

    pub(crate) fn is_merged(&self) -> bool {
        self.unmerged.is_some()
    }

    fn delta(&self) -> Tensor<2> {
        let (a, b) = (self.a.val().inner(), self.b.val().inner());
        b.matmul(a).mul_scalar(self.scale) // [out, in]
    }
}

impl Llama {
    /// Puts fresh adapters beside every linear layer that a target names, and freezes the rest.
    ///
    /// # Errors
    /// [`ModelError::Lora`] when the rank is zero, when a target names no layer (the error lists
    /// the names there are), or when an adapter is attached already.
    pub fn attach_lora(self, config: &LoraConfig, seed: u64) -> Result<Self, ModelError> {
        self.check_targets(config)?;
        let device = self.device();
        let mut model = self.no_grad();
        for (stream, (name, linear)) in model.linears_mut().into_iter().enumerate() {
            if config.targets.iter().any(|target| matches(target, &name)) {
                let mut rng = CounterRng::new(seed, stream as u64);
                linear.lora = Some(LoraFactors::init(linear.shape(), config, &mut rng, &device));
            }
        }
        Ok(model)
    }

    fn check_targets(&self, config: &LoraConfig) -> Result<(), ModelError> {
        let linears = self.linears();
        let known = || {
            let mut last: Vec<_> = linears
                .iter()
                .filter_map(|(n, _)| n.rsplit('.').next())
                .collect();
            last.sort_unstable();
            last.dedup();
            last.join("`, `")
        };
        if config.rank == 0 || !config.alpha.is_finite() {
            return Err(ModelError::Lora {
                what: format!(
                    "expected rank ≥ 1 and a finite alpha, found rank {} and alpha {}",
                    config.rank, config.alpha
                ),
                hint: "rank 8 and alpha 16 are usual".into(),
            });
        }
        if config.targets.is_empty() {
            return Err(ModelError::Lora {
                what: "expected at least one target, found none".into(),
                hint: format!("the layers are `{}`", known()),
            });
        }
        for target in &config.targets {
            if !linears.iter().any(|(name, _)| matches(target, name)) {
                return Err(ModelError::Lora {
                    what: format!("target `{target}` names no linear layer"),
                    hint: format!("the layers are `{}`", known()),
                });
            }
        }
        if linears.iter().any(|(_, linear)| linear.lora.is_some()) {
            return Err(ModelError::Lora {
                what: "an adapter is attached already".into(),
                hint: "merge it or load the base model again".into(),
            });
        }
        Ok(())
    }

    /// Loads a PEFT adapter beside the layers that it names.
    ///
    /// # Errors
    /// [`ModelError::Lora`] when the adapter is of another kind than LoRA, names a layer that the
    /// model lacks, lacks one of its two factors, or has a factor of the wrong shape.
    pub fn load_adapter(self, adapter: &Adapter) -> Result<Self, ModelError> {
        check_kind(&adapter.config)?;
        let device = self.device();
        let mut model = self.no_grad();
        let mut loaded = 0;
        for (name, linear) in model.linears_mut() {
            let factor = |which: &str| adapter.tensors.get(&peft_name(&name, which));
            let (a, b) = match (factor("lora_A"), factor("lora_B")) {
                (None, None) => continue,
                (Some(a), Some(b)) => (a, b),
                _ => {
                    return Err(ModelError::Lora {
                        what: format!(
                            "layer `{name}`: expected lora_A and lora_B, found only one of them"
                        ),
                        hint: "is the adapter file whole?".into(),
                    });
                }
            };
            let [d_out, d_in] = linear.shape();
            let rank = a.shape.first().copied().unwrap_or(0);
            if rank == 0 || a.shape != [rank, d_in] || b.shape != [d_out, rank] {
                return Err(ModelError::Lora {
                    what: format!(
                        "layer `{name}`: expected lora_A [r, {d_in}] and lora_B [{d_out}, r], found {:?} and {:?}",
                        a.shape, b.shape
                    ),
                    hint: "was the adapter trained on another base model?".into(),
                });
            }
            let scale = scaling(&adapter.config, &name, rank);
            linear.lora = Some(LoraFactors::new(
                to_tensor(a, &device),
                to_tensor(b, &device),
                scale,
            ));
            loaded += 2;
        }
        if loaded != adapter.tensors.len() || loaded == 0 {
            let known: Vec<_> = model
                .linears()
                .iter()
                .map(|(n, _)| peft_name(n, "lora_A"))
                .collect();
            let stray = adapter
                .tensors
                .keys()
                .find(|k| !known.contains(&k.replace("lora_B", "lora_A")));
            return Err(ModelError::Lora {
                what: format!(
                    "the adapter's tensor `{}` belongs to no layer of this model",
                    stray.map_or("(none)", |s| s)
                ),
                hint: "is this adapter for this base model?".into(),
            });
        }
        Ok(model)
    }

    /// The attached adapter under PEFT's names; `None` when there is none.
    pub fn adapter(&self, base_model: &str) -> Option<Adapter> {
        let mut tensors = std::collections::BTreeMap::new();
        let mut targets = std::collections::BTreeSet::new();
        let (mut rank, mut alpha) = (0, 0.0);
        for (name, linear) in self.linears() {
            let Some(lora) = &linear.lora else { continue };
            rank = lora.a.dims()[0];
            alpha = lora.scale * rank as f64;
            targets.insert(name.rsplit('.').next().unwrap_or(&name).to_owned());
            tensors.insert(peft_name(&name, "lora_A"), to_host(lora.a.val()));
            tensors.insert(peft_name(&name, "lora_B"), to_host(lora.b.val()));
        }
        let config = AdapterConfig::new(rank, alpha, targets, base_model);
        (!tensors.is_empty()).then_some(Adapter { config, tensors })
    }

    /// Adds every adapter's update to its weight. The side paths rest until [`Llama::unmerge`];
    /// the weights as they were are kept, so that unmerging is exact.
    ///
    /// # Errors
    /// [`ModelError::Lora`] when a layer's weight is packed.
    pub fn merge(&mut self) -> Result<(), ModelError> {
        for (name, linear) in self.linears_mut() {
            let Linear {
                weight,
                lora: Some(lora),
                ..
            } = linear
            else {
                continue;
            };
            let Weight::Dense(weight) = weight else {
                return Err(ModelError::Lora {
                    what: format!(
                        "layer `{name}`: expected a dense weight to merge into, found a packed one"
                    ),
                    hint: "merge into the model as it was before quantizing".into(),
                });
            };
            if lora.unmerged.is_none() {
                lora.unmerged = Some(weight.clone());
                *weight = frozen(weight.val().inner() + lora.delta());
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

    /// Merges, and forgets the adapter and the weights as they were.
    ///
    /// # Errors
    /// As [`Llama::merge`].
    pub fn into_merged(mut self) -> Result<Self, ModelError> {
        self.merge()?;
        for (_, linear) in self.linears_mut() {
            linear.lora = None;
        }
        Ok(self)
    }
}

/// Only plain LoRA is applied; anything else would silently give other outputs.
fn check_kind(config: &AdapterConfig) -> Result<(), ModelError> {
    let unsupported = [
        (config.peft_type != "LORA", "peft_type other than LORA"),
        (config.use_dora, "use_dora"),
        (config.fan_in_fan_out, "fan_in_fan_out"),
        (config.bias != "none", "trained biases"),
        (
            config
                .modules_to_save
                .as_ref()
                .is_some_and(|m| !m.is_empty()),
            "modules_to_save",
        ),
    ];
    match unsupported.iter().find(|(found, _)| *found) {
        None => Ok(()),
        Some((_, what)) => Err(ModelError::Lora {
            what: format!("expected a plain LoRA adapter, found one with {what}"),
            hint: "merge it in PEFT and load the merged model".into(),
        }),
    }
}

/// The layer's own alpha, where the config has one, over its rank.
fn scaling(config: &AdapterConfig, layer: &str, rank: usize) -> f64 {
    let own = config
        .alpha_pattern
        .iter()
        .find(|(pattern, _)| matches(pattern, layer));
    let alpha = own.map_or(config.lora_alpha, |(_, alpha)| *alpha);
    let rank = rank as f64;
    alpha / if config.use_rslora { rank.sqrt() } else { rank }
}

fn frozen(weight: Tensor<2>) -> Param<Tensor<2>> {
    Param::from_tensor(weight).set_require_grad(false)
}

fn peft_name(layer: &str, factor: &str) -> String {
    format!("{PEFT_PREFIX}{layer}.{factor}.weight")
}

fn to_tensor(host: &HostTensor, device: &Device) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(host.data.clone(), host.shape.clone()),
        device,
    )
}

fn to_host(tensor: Tensor<2>) -> HostTensor {
    HostTensor {
        shape: tensor.dims().to_vec(),
        data: host_f32(tensor.inner()),
    }
}

/// Whether `target` names `layer`: its last part, or a pattern in which `*` stands for anything.
fn matches(target: &str, layer: &str) -> bool {
    if !target.contains('*') {
        return layer == target || layer.ends_with(&format!(".{target}"));
    }
    let mut parts = target.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = layer.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;

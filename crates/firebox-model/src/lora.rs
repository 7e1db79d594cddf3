//! Low-rank adapters as a side path: attach, merge, unmerge, save, load.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{Adapter, AdapterConfig, HostTensor, TargetModules};
use firebox_tensor::kernels::LoraPath;
use firebox_tensor::random::CounterRng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    pub lora_a: Param<Tensor<2>>,
    /// `[out, rank]`, starts at zero, so that a fresh adapter changes nothing.
    pub lora_b: Param<Tensor<2>>,
    /// `alpha / rank`.
    pub scaling: f64,
    /// The weight as it was before the merge, while merged. Keeps unmerging exact.
    unmerged: Option<Param<Tensor<2>>>,
}

impl LoraFactors {
    fn new(lora_a: Tensor<2>, lora_b: Tensor<2>, scaling: f64) -> Self {
        Self {
            lora_a: Param::from_tensor(lora_a),
            lora_b: Param::from_tensor(lora_b),
            scaling,
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

    /// The side path.
    pub(crate) fn path(&self) -> LoraPath {
        LoraPath {
            a: self.lora_a.val(),
            b: self.lora_b.val(),
            scaling: self.scaling,
        }
    }

    pub(crate) fn is_merged(&self) -> bool {
        self.unmerged.is_some()
    }

    fn delta(&self) -> Tensor<2> {
        let (a, b) = (self.lora_a.val().inner(), self.lora_b.val().inner());
        b.matmul(a).mul_scalar(self.scaling) // [out, in]
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
        let widest = linears
            .iter()
            .flat_map(|(_, linear)| linear.shape())
            .max()
            .unwrap_or(0);
        if config.rank > widest {
            return Err(ModelError::Lora {
                what: format!(
                    "expected a rank of at most {widest}, the widest layer, found {}",
                    config.rank
                ),
                hint: "rank 8 and alpha 16 are usual".into(),
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
        self.check_unadapted()
    }

    fn check_unadapted(&self) -> Result<(), ModelError> {
        match self.has_adapter() {
            false => Ok(()),
            true => Err(ModelError::Lora {
                what: "an adapter is attached already".into(),
                hint: "merge it or load the base model again".into(),
            }),
        }
    }

    /// Whether any layer has an adapter, merged or not.
    pub fn has_adapter(&self) -> bool {
        self.linears()
            .iter()
            .any(|(_, linear)| linear.lora.is_some())
    }

    /// Whether any layer's weight is packed.
    pub fn is_packed(&self) -> bool {
        let mut weights = self.linears().into_iter().map(|(_, linear)| &linear.weight);
        weights.any(|weight| matches!(weight, Weight::Packed(_)))
    }

    /// Loads a PEFT adapter beside the layers that it names.
    ///
    /// # Errors
    /// [`ModelError::Lora`] when the adapter is of another kind than LoRA, names a layer that the
    /// model lacks, lacks one of its two factors, or has a factor of the wrong shape, or when an
    /// adapter is attached already.
    pub fn load_adapter(self, adapter: &Adapter) -> Result<Self, ModelError> {
        self.check_unadapted()?;
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
        let mut config: Option<AdapterConfig> = None;
        for (name, linear) in self.linears() {
            let Some(lora) = &linear.lora else { continue };
            let rank = lora.lora_a.dims()[0];
            let alpha = lora.scaling * rank as f64;
            let config =
                config.get_or_insert_with(|| AdapterConfig::new(rank, alpha, [""; 0], base_model));
            // The first layer speaks for all; others are named where they differ.
            if rank != config.r {
                config.rank_pattern.insert(name.clone(), rank);
            }
            if alpha != config.lora_alpha {
                config.alpha_pattern.insert(name.clone(), alpha);
            }
            targets.insert(name.rsplit('.').next().unwrap_or(&name).to_owned());
            tensors.insert(peft_name(&name, "lora_A"), to_host(lora.lora_a.val()));
            tensors.insert(peft_name(&name, "lora_B"), to_host(lora.lora_b.val()));
        }
        let mut config = config?;
        config.target_modules = Some(TargetModules::Names(targets.into_iter().collect()));
        Some(Adapter { config, tensors })
    }

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
        Ok(self)
    }
}

/// Only plain LoRA is applied; anything else would silently give other outputs.
fn check_kind(config: &AdapterConfig) -> Result<(), ModelError> {
    let trained_whole = config
        .modules_to_save
        .as_ref()
        .is_some_and(|m| !m.is_empty());
    let unsupported = [
        (config.peft_type != "LORA", "peft_type"),
        (config.use_dora, "use_dora"),
        (config.fan_in_fan_out, "fan_in_fan_out"),
        (config.bias != "none", "bias"),
        (trained_whole, "modules_to_save"),
    ];
    let known = unsupported
        .iter()
        .find(|(found, _)| *found)
        .map(|(_, key)| *key);
    let others = || {
        CHANGES_OUTPUT
            .into_iter()
            .find(|key| config.others.get(*key).is_some_and(is_set))
    };
    let base_changed = || {
        config
            .others
            .get("init_lora_weights")
            .is_some_and(changes_base)
            .then_some("init_lora_weights")
    };
    let pattern = || {
        config
            .alpha_pattern
            .keys()
            .any(|p| !is_plain(p))
            .then_some("alpha_pattern")
    };
    match known.or_else(others).or_else(base_changed).or_else(pattern) {
        None => Ok(()),
        Some(key) => Err(ModelError::Lora {
            what: format!("expected a plain LoRA adapter, found one whose `{key}` asks for more"),
            hint: "merge it in PEFT and load the merged model".into(),
        }),
    }
}

/// Keys of PEFT's config that change what an adapter computes when they are set.
const CHANGES_OUTPUT: [&str; 6] = [
    "alora_invocation_tokens",
    "arrow_config",
    "layer_replication",
    "lora_bias",
    "use_bdlora",
    "use_qalora",
];

fn is_set(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// Initializations that take their part of the base weights away; the base alone is then not what
/// the adapter was trained on.
fn changes_base(init_lora_weights: &Value) -> bool {
    let name = init_lora_weights.as_str().unwrap_or("").to_lowercase();
    ["pissa", "olora", "corda", "loftq"]
        .iter()
        .any(|kind| name.starts_with(kind))
}

/// A module's name, not a regular expression.
fn is_plain(pattern: &str) -> bool {
    pattern
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// The layer's own alpha, where the config has one, over its rank.
fn scaling(config: &AdapterConfig, layer: &str, rank: usize) -> f64 {
    let own = config
        .alpha_pattern
        .iter()
        .find(|(name, _)| matches(name, layer));
    let alpha = own.map_or(config.lora_alpha, |(_, alpha)| *alpha);
    AdapterConfig {
        r: rank,
        lora_alpha: alpha,
        ..config.clone()
    }
    .scaling()
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

//! Adapters to and from PEFT's files.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{Adapter, AdapterConfig, HostTensor, TargetModules};
use serde_json::Value;

use super::LoraFactors;
use super::dropout::Dropout;
use super::names::matches;
use super::whole::{WHOLE, own_module, peft_module};
use crate::error::ModelError;
use crate::linear::host_f32;
use crate::llama::Llama;

/// PEFT puts this before every name of the base model.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

impl Llama {
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
            let shape = linear.shape();
            let Some(factors) = FileFactors::of(adapter, &name, shape)? else {
                continue;
            };
            let (a, b) = (to_tensor(factors.a, &device), to_tensor(factors.b, &device));
            let mut lora = LoraFactors::new(a, b, factors.scaling);
            lora.is_rank_stabilized = adapter.config.use_rslora;
            lora.dropout = Dropout::new(adapter.config.lora_dropout, 0, loaded as u64);
            loaded += 2;
            if adapter.config.use_dora {
                lora.magnitude = Some(magnitude(adapter, &name, shape[0], &device)?);
                loaded += 1;
            }
            linear.lora = Some(lora);
        }
        loaded += model.load_whole(adapter)?;
        let layers = model.linears().into_iter().map(|(name, _)| name);
        check_all_taken(adapter, loaded, layers)?;
        Ok(model)
    }

    /// The attached adapter under PEFT's names; `None` when there is none.
    pub fn adapter(&self, base_model: &str) -> Option<Adapter> {
        let mut tensors = std::collections::BTreeMap::new();
        let mut targets = std::collections::BTreeSet::new();
        let mut config: Option<AdapterConfig> = None;
        for (name, linear) in self.linears() {
            let Some(lora) = &linear.lora else { continue };
            let (a, b) = (lora.lora_a.val().inner(), lora.lora_b.val().inner());
            let (a, b) = match &lora.principal {
                Some(principal) => principal.learned(a, b),
                None => (a, b),
            };
            let rank = a.dims()[0];
            let alpha = match lora.is_rank_stabilized {
                true => lora.scaling * (rank as f64).sqrt(),
                false => lora.scaling * rank as f64,
            };
            let config = config.get_or_insert_with(|| AdapterConfig {
                use_rslora: lora.is_rank_stabilized,
                use_dora: lora.magnitude.is_some(),
                lora_dropout: lora.dropout.as_ref().map_or(0.0, Dropout::share),
                ..AdapterConfig::new(rank, alpha, [""; 0], base_model)
            });
            // The first layer speaks for all; others are named where they differ.
            if rank != config.r {
                config.rank_pattern.insert(name.clone(), rank);
            }
            if alpha != config.lora_alpha {
                config.alpha_pattern.insert(name.clone(), alpha);
            }
            targets.insert(name.rsplit('.').next().unwrap_or(&name).to_owned());
            tensors.insert(peft_name(&name, "lora_A"), to_host(a));
            tensors.insert(peft_name(&name, "lora_B"), to_host(b));
            if let Some(magnitude) = &lora.magnitude {
                let name = format!("{PEFT_PREFIX}{name}.{MAGNITUDE}");
                tensors.insert(name, to_host(magnitude.val()));
            }
        }
        let mut config = config?;
        let whole = self.whole_modules();
        if !whole.is_empty() {
            config.modules_to_save =
                Some(self.whole.iter().map(|name| peft_module(name)).collect());
        }
        for (name, shape, data) in whole {
            if let Some((_, weight)) = WHOLE.iter().find(|(module, _)| *module == name) {
                tensors.insert(format!("{PEFT_PREFIX}{weight}"), HostTensor { shape, data });
            }
        }
        config.target_modules = Some(TargetModules::Names(targets.into_iter().collect()));
        Some(Adapter { config, tensors })
    }
}

/// The factors of one layer in a file.
pub(crate) struct FileFactors<'a> {
    /// `[rank, in]`.
    pub(crate) a: &'a HostTensor,
    /// `[out, rank]`.
    pub(crate) b: &'a HostTensor,
    pub(crate) scaling: f64,
}

impl<'a> FileFactors<'a> {
    /// Those of a layer `[out, in]`; `None` where the adapter leaves it alone.
    pub(crate) fn of(
        adapter: &'a Adapter,
        layer: &str,
        [d_out, d_in]: [usize; 2],
    ) -> Result<Option<Self>, ModelError> {
        let factor = |which: &str| adapter.tensors.get(&peft_name(layer, which));
        let (a, b) = match (factor("lora_A"), factor("lora_B")) {
            (None, None) => return Ok(None),
            (Some(a), Some(b)) => (a, b),
            _ => {
                return Err(ModelError::Lora {
                    what: format!(
                        "layer `{layer}`: expected lora_A and lora_B, found only one of them"
                    ),
                    hint: "is the adapter file whole?".into(),
                });
            }
        };
        let rank = a.shape.first().copied().unwrap_or(0);
        if rank == 0 || a.shape != [rank, d_in] || b.shape != [d_out, rank] {
            return Err(ModelError::Lora {
                what: format!(
                    "layer `{layer}`: expected lora_A [r, {d_in}] and lora_B [{d_out}, r], found {:?} and {:?}",
                    a.shape, b.shape
                ),
                hint: "was the adapter trained on another base model?".into(),
            });
        }
        let scaling = layer_scaling(&adapter.config, layer, rank);
        Ok(Some(Self { a, b, scaling }))
    }
}

/// Whether a model with these layers took every tensor of the adapter, `n_taken` of them, and any at
/// all.
pub(crate) fn check_all_taken(
    adapter: &Adapter,
    n_taken: usize,
    layers: impl Iterator<Item = String>,
) -> Result<(), ModelError> {
    if n_taken == adapter.tensors.len() && n_taken > 0 {
        return Ok(());
    }
    let known: Vec<_> = layers.map(|layer| peft_name(&layer, "lora_A")).collect();
    let stray = adapter.tensors.keys().find(|name| {
        let factor = name.replace("lora_B", "lora_A");
        !known.contains(&factor.replace(MAGNITUDE, "lora_A.weight"))
    });
    Err(ModelError::Lora {
        what: format!(
            "the adapter's tensor `{}` belongs to no layer of this model",
            stray.map_or("(none)", |stray| stray)
        ),
        hint: "is this adapter for this base model?".into(),
    })
}

/// The sizes of DoRA, under the name of a layer.
const MAGNITUDE: &str = "lora_magnitude_vector";

fn magnitude(
    adapter: &Adapter,
    layer: &str,
    d_out: usize,
    device: &Device,
) -> Result<Param<Tensor<1>>, ModelError> {
    let name = format!("{PEFT_PREFIX}{layer}.{MAGNITUDE}");
    match adapter.tensors.get(&name) {
        Some(tensor) if tensor.shape == [d_out] => {
            let data = TensorData::new(tensor.data.clone(), [d_out]);
            Ok(Param::from_tensor(Tensor::from_data(data, device)))
        }
        found => Err(ModelError::Lora {
            what: format!(
                "layer `{layer}`: expected {MAGNITUDE} [{d_out}], found {:?}",
                found.map(|tensor| &tensor.shape)
            ),
            hint: "is the adapter file whole?".into(),
        }),
    }
}

impl Llama {
    /// Takes up the modules that the adapter has whole, and lets them train; gives their number.
    fn load_whole(&mut self, adapter: &Adapter) -> Result<usize, ModelError> {
        let named = adapter
            .config
            .modules_to_save
            .as_deref()
            .unwrap_or_default();
        let modules: Vec<String> = named.iter().map(|name| own_module(name)).collect();
        let device = self.device();
        self.train_whole(&modules)?;
        for module in &modules {
            let weight = WHOLE.iter().find(|(name, _)| name == module);
            let weight = weight.map_or("", |(_, weight)| weight);
            let tensor = adapter.tensors.get(&format!("{PEFT_PREFIX}{weight}"));
            let expected: Vec<usize> = match module.as_str() {
                "norm" => self.norm.gamma.dims().to_vec(),
                "embed_tokens" => self.embed_tokens.dims().to_vec(),
                _ => self.lm_head_weight().dims().to_vec(),
            };
            let Some(tensor) = tensor.filter(|tensor| tensor.shape == expected) else {
                return Err(ModelError::Lora {
                    what: format!(
                        "module `{module}`: expected {expected:?}, found {:?}",
                        tensor.map(|tensor| &tensor.shape)
                    ),
                    hint: "was the adapter trained on another base model?".into(),
                });
            };
            match module.as_str() {
                "norm" => self.norm.gamma = Param::from_tensor(to_tensor(tensor, &device)),
                "embed_tokens" => {
                    self.embed_tokens = Param::from_tensor(to_tensor(tensor, &device))
                }
                _ => self.lm_head = Some(Param::from_tensor(to_tensor(tensor, &device))),
            }
        }
        Ok(modules.len())
    }
}

/// Only what is known is applied; anything else would silently give other outputs.
pub(crate) fn check_kind(config: &AdapterConfig) -> Result<(), ModelError> {
    let unsupported = [
        (config.peft_type != "LORA", "peft_type"),
        (config.fan_in_fan_out, "fan_in_fan_out"),
        (config.bias != "none", "bias"),
    ];
    let known = unsupported
        .iter()
        .find(|(found, _)| *found)
        .map(|(_, key)| *key);
    let is_known_change = |key: &str| config.others.get(key).is_some_and(is_set);
    let others = || CHANGES_OUTPUT.into_iter().find(|key| is_known_change(key));
    let base_changed = || {
        let init = config.others.get("init_lora_weights");
        init.is_some_and(changes_base)
            .then_some("init_lora_weights")
    };
    let pattern = || {
        let mut patterns = config.alpha_pattern.keys();
        patterns.any(|p| !is_plain(p)).then_some("alpha_pattern")
    };
    match known.or_else(others).or_else(base_changed).or_else(pattern) {
        None => Ok(()),
        Some(key) => Err(ModelError::Lora {
            what: format!(
                "expected a LoRA, rsLoRA or DoRA adapter, found one whose `{key}` asks for more"
            ),
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
pub(super) fn layer_scaling(config: &AdapterConfig, layer: &str, rank: usize) -> f64 {
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

pub(super) fn peft_name(layer: &str, factor: &str) -> String {
    format!("{PEFT_PREFIX}{layer}.{factor}.weight")
}

fn to_tensor<const D: usize>(host: &HostTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(host.data.clone(), host.shape.clone()),
        device,
    )
}

fn to_host<const D: usize>(tensor: Tensor<D>) -> HostTensor {
    HostTensor {
        shape: tensor.dims().to_vec(),
        data: host_f32(tensor.inner()),
    }
}

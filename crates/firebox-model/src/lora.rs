//! Low-rank adapters as a side path: LoRA, rsLoRA, DoRA, PiSSA.

mod combine;
mod dropout;
mod files;
mod merge;
mod names;
mod pissa;
mod whole;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use firebox_tensor::kernels::LoraPath;
use firebox_tensor::random::CounterRng;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::linear::Weight;
use crate::llama::Llama;
pub use combine::combine_adapters;
use dropout::Dropout;
pub(crate) use files::{FileFactors, check_all_taken, check_kind};
pub(crate) use names::matches;
pub use names::matches_pattern;
use pissa::Principal;

/// How adapters begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraInit {
    /// A random A and B = 0: a fresh adapter changes nothing.
    #[default]
    Random,
    /// The principal singular values of each weight, which are taken out of it: training moves what
    /// matters most from the first step. The model as a whole is unchanged; an adapter's file holds the
    /// difference to the base, in twice the rank.
    ///
    /// Source: Meng et al. (2024), <https://arxiv.org/abs/2404.02948>.
    Pissa,
}

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
    /// Share of the side path's inputs that are dropped while training, in `[0, 1)`.
    #[serde(default)]
    pub dropout: f64,
    /// The update is scaled by `alpha / sqrt(rank)`: with `alpha / rank` large ranks learn too slowly.
    ///
    /// Source: Kalajdzievski (2023), <https://arxiv.org/abs/2312.03732>.
    #[serde(default)]
    pub rank_stabilized: bool,
    /// Each output's size is learned apart from its direction.
    ///
    /// Source: Liu et al. (2024), section 4.1, <https://arxiv.org/abs/2402.09353>.
    #[serde(default)]
    pub dora: bool,
    /// How the adapters begin.
    #[serde(default)]
    pub init: LoraInit,
    /// Modules that train whole, beside the adapters: `lm_head`, `embed_tokens`, `norm`.
    #[serde(default)]
    pub modules_to_save: Vec<String>,
}

impl LoraConfig {
    /// Plain adapters, without dropout.
    pub fn new(
        rank: usize,
        alpha: f64,
        targets: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            rank,
            alpha,
            targets: targets.into_iter().map(Into::into).collect(),
            dropout: 0.0,
            rank_stabilized: false,
            dora: false,
            init: LoraInit::Random,
            modules_to_save: Vec::new(),
        }
    }

    fn scaling(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha
            / if self.rank_stabilized {
                rank.sqrt()
            } else {
                rank
            }
    }
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
    /// `alpha / rank`, or `alpha / sqrt(rank)`.
    pub scaling: f64,
    /// Of DoRA: the size of each output's weights, `[out]`; starts at the base's.
    pub magnitude: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(crate) is_rank_stabilized: bool,
    #[module(skip)]
    pub(crate) dropout: Option<Dropout>,
    /// Of PiSSA: the factors that it began with, which the weight lacks.
    #[module(skip)]
    pub(crate) principal: Option<Principal>,
    /// The weight as it was before the merge, while merged. Keeps unmerging exact.
    unmerged: Option<Weight>,
}

impl LoraFactors {
    pub(crate) fn new(lora_a: Tensor<2>, lora_b: Tensor<2>, scaling: f64) -> Self {
        Self {
            lora_a: Param::from_tensor(lora_a),
            lora_b: Param::from_tensor(lora_b),
            scaling,
            magnitude: None,
            is_rank_stabilized: false,
            dropout: None,
            principal: None,
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
            config.scaling(),
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

    /// Whether the layer is `x Wᵀ + scaling · (x Aᵀ) Bᵀ` for these rows, which is one operation.
    pub(crate) fn is_plain(&self, rows: &Tensor<2>) -> bool {
        let drops = self.dropout.is_some() && rows.is_autodiff();
        self.magnitude.is_none() && !drops
    }

    /// The layer with dropout or a magnitude: `base` computes `x Wᵀ`.
    ///
    /// Under DoRA, with `s = m / ‖W + scaling · B A‖` by rows, the norm taken as a constant, and
    /// dropped inputs `x'` (as PEFT orders it):
    ///
    /// ```text
    /// y = x Wᵀ + (s - 1) · x' Wᵀ + s · scaling · (x' Aᵀ) Bᵀ
    /// ```
    pub(crate) fn forward(
        &self,
        rows: Tensor<2>,
        weight: &Weight,
        base: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let dropped = match &self.dropout {
            Some(dropout) if rows.is_autodiff() => Some(dropout.apply(rows.clone())),
            _ => None,
        };
        let side = self
            .path()
            .apply(dropped.clone().unwrap_or_else(|| rows.clone())); // [rows, out]
        let y = base(rows); // [rows, out]
        let Some(magnitude) = &self.magnitude else {
            return y + side;
        };
        let norms = row_norms(self.adapted(weight, &y.device().inner())); // [out]
        let norms = if y.is_autodiff() {
            Tensor::from_inner(norms)
        } else {
            norms
        };
        let scale = (magnitude.val() / norms).unsqueeze(); // [1, out]
        match dropped {
            None => (y + side) * scale,
            Some(dropped) => y + base(dropped) * (scale.clone() - 1.0) + side * scale,
        }
    }

    /// `W + scaling · B A`, `[out, in]`, outside autodiff.
    fn adapted(&self, weight: &Weight, device: &Device) -> Tensor<2> {
        let (a, b) = (self.lora_a.val().inner(), self.lora_b.val().inner());
        weight.to_dense(device).inner() + b.matmul(a).mul_scalar(self.scaling)
    }

    /// The weight that has the adapter's effect, `[out, in]`.
    fn merged(&self, weight: &Weight, device: &Device) -> Tensor<2> {
        let adapted = self.adapted(weight, device);
        match &self.magnitude {
            None => adapted,
            Some(magnitude) => {
                let scale = magnitude.val().inner() / row_norms(adapted.clone()); // [out]
                adapted * scale.unsqueeze_dim(1)
            }
        }
    }
}

/// An adapter of the principal part of a weight, which keeps the rest.
fn take_principal(
    layer: &str,
    weight: &mut Weight,
    config: &LoraConfig,
    device: &Device,
) -> Result<LoraFactors, ModelError> {
    if let Weight::Half(_) = weight {
        *weight = Weight::Dense(Param::from_tensor(weight.to_dense(device)));
    }
    let Weight::Dense(dense) = weight else {
        return Err(ModelError::Lora {
            what: format!("layer `{layer}`: expected a dense weight for PiSSA, found a packed one"),
            hint: "quantize afterwards, or start the adapter as usual".into(),
        });
    };
    let scaling = config.scaling();
    let values = dense.val().inner();
    let principal = Principal::of(layer, &values, config.rank, scaling)?;
    *dense = principal.residual(values, scaling);
    Ok(principal.factors(scaling))
}

/// The Euclidean norm of each row, `[out, in]` to `[out]`.
fn row_norms(weight: Tensor<2>) -> Tensor<1> {
    let [n_out, _] = weight.dims();
    weight.powi_scalar(2).sum_dim(1).sqrt().reshape([n_out])
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
                let mut lora = match config.init {
                    LoraInit::Random => {
                        let mut rng = CounterRng::new(seed, stream as u64);
                        LoraFactors::init(linear.shape(), config, &mut rng, &device)
                    }
                    LoraInit::Pissa => take_principal(&name, &mut linear.weight, config, &device)?,
                };
                lora.is_rank_stabilized = config.rank_stabilized;
                lora.dropout = Dropout::new(config.dropout, seed, stream as u64);
                if config.dora {
                    let norms = row_norms(lora.adapted(&linear.weight, &device));
                    lora.magnitude = Some(Param::from_tensor(norms));
                }
                linear.lora = Some(lora);
            }
        }
        model.train_whole(&config.modules_to_save)?;
        Ok(model)
    }

    /// The base model, outside autodiff, sharing its weights with this one.
    ///
    /// # Errors
    /// [`ModelError::Lora`] when there is no adapter, when it is merged into the weights, or when
    /// modules train whole beside it: the base is then not there any more.
    pub fn without_adapter(&self) -> Result<Self, ModelError> {
        let mut adapters = self
            .linears()
            .into_iter()
            .filter_map(|(_, linear)| linear.lora.as_ref());
        // A weight without its principal part is not the base's.
        let is_changed = adapters.any(|lora| lora.is_merged() || lora.principal.is_some());
        if !self.has_adapter() || is_changed || !self.whole.is_empty() {
            return Err(ModelError::Lora {
                what: "expected an adapter beside untouched base weights, found another model"
                    .into(),
                hint: "attach an adapter without `modules_to_save` and PiSSA, and do not merge it"
                    .into(),
            });
        }
        let mut base = self.valid();
        for (_, linear) in base.linears_mut() {
            linear.lora = None;
        }
        Ok(base)
    }

    /// Says which batch comes next: dropout draws by its number.
    pub fn set_dropout_step(&self, step: u64) {
        for (_, linear) in self.linears() {
            if let Some(dropout) = linear.lora.as_ref().and_then(|lora| lora.dropout.as_ref()) {
                dropout.set_step(step);
            }
        }
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
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(ModelError::Lora {
                what: format!(
                    "expected a dropout from 0 up to, not including, 1, found {}",
                    config.dropout
                ),
                hint: "0.05 is usual".into(),
            });
        }
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

    /// Values of linear layers that cannot train: packed, or in 16 bits.
    pub fn n_fixed_weights(&self) -> usize {
        let linears = self.linears().into_iter();
        let fixed = linears.filter(|(_, linear)| !matches!(linear.weight, Weight::Dense(_)));
        fixed
            .map(|(_, linear)| linear.shape().iter().product::<usize>())
            .sum()
    }

    /// Whether every layer's weight can train.
    pub fn is_dense(&self) -> bool {
        self.n_fixed_weights() == 0
    }
}

#[cfg(test)]
mod tests;

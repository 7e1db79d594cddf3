//! Several adapters as one.

use std::collections::BTreeMap;

use firebox_checkpoint::{Adapter, AdapterConfig, HostTensor, TargetModules};

use super::files::{PEFT_PREFIX, layer_scaling, peft_name};
use crate::error::ModelError;

/// One adapter with the effect of several on the same base, each times its weight:
///
/// ```text
/// ΔW = Σ wᵢ · scalingᵢ · Bᵢ Aᵢ = [B₁ B₂ …] [w₁ scaling₁ A₁; w₂ scaling₂ A₂; …]
/// ```
///
/// Its rank is the sum of theirs, and nothing is lost: PEFT's `add_weighted_adapter` with
/// `combination_type="cat"`.
///
/// # Errors
/// [`ModelError::Lora`] for no adapter, a weight that is not finite, and adapters whose effects do not
/// add: DoRA's magnitudes, and modules that were trained whole.
pub fn combine_adapters(parts: &[(Adapter, f64)]) -> Result<Adapter, ModelError> {
    check(parts)?;
    let mut layers: BTreeMap<String, Factors> = BTreeMap::new();
    for (adapter, weight) in parts {
        for (name, a) in &adapter.tensors {
            let Some(layer) = layer_of(name) else {
                continue;
            };
            let b = adapter.tensors.get(&peft_name(layer, "lora_B"));
            let (Some(b), &[rank, _]) = (b, a.shape.as_slice()) else {
                return Err(lora(
                    format!("layer `{layer}`: expected the factors A and B, found one alone"),
                    "are the adapter files whole?",
                ));
            };
            let factor = weight * layer_scaling(&adapter.config, layer, rank);
            let factors = layers.entry(layer.to_owned()).or_default();
            factors.add(layer, a, b, factor as f32)?;
        }
    }
    Ok(adapter_of(layers, &parts[0].0.config))
}

/// The stacked factors of one layer.
#[derive(Default)]
struct Factors {
    d_in: usize,
    d_out: usize,
    /// `[rank, in]` so far.
    a: Vec<f32>,
    /// The columns of B so far, `[rank, out]`.
    b_columns: Vec<f32>,
}

impl Factors {
    fn add(
        &mut self,
        layer: &str,
        a: &HostTensor,
        b: &HostTensor,
        factor: f32,
    ) -> Result<(), ModelError> {
        let (&[rank, d_in], &[d_out, b_rank]) = (a.shape.as_slice(), b.shape.as_slice()) else {
            return Err(wrong_shapes(layer, a, b));
        };
        let is_first = self.a.is_empty();
        if is_first {
            (self.d_in, self.d_out) = (d_in, d_out);
        }
        if rank != b_rank || (d_in, d_out) != (self.d_in, self.d_out) {
            return Err(wrong_shapes(layer, a, b));
        }
        self.a.extend(a.data.iter().map(|x| x * factor));
        for column in 0..rank {
            let values = b.data.iter().skip(column).step_by(rank);
            self.b_columns.extend(values);
        }
        Ok(())
    }

    fn rank(&self) -> usize {
        self.a.len() / self.d_in.max(1)
    }

    /// A `[rank, in]` and B `[out, rank]`.
    fn tensors(self) -> [HostTensor; 2] {
        let (rank, d_in, d_out) = (self.rank(), self.d_in, self.d_out);
        let places = (0..d_out).flat_map(|row| (0..rank).map(move |column| column * d_out + row));
        let b = places.map(|place| self.b_columns[place]).collect();
        [
            HostTensor {
                shape: vec![rank, d_in],
                data: self.a,
            },
            HostTensor {
                shape: vec![d_out, rank],
                data: b,
            },
        ]
    }
}

/// Scalings are in the factors: alpha is the rank.
fn adapter_of(layers: BTreeMap<String, Factors>, first: &AdapterConfig) -> Adapter {
    let rank = layers.values().map(Factors::rank).max().unwrap_or(1);
    let base = first.base_model_name_or_path.clone().unwrap_or_default();
    let mut config = AdapterConfig::new(rank, rank as f64, [""; 0], &base);
    config.task_type.clone_from(&first.task_type);
    let mut targets: Vec<String> = Vec::new();
    let mut tensors = BTreeMap::new();
    for (layer, factors) in layers {
        let own = factors.rank();
        if own != rank {
            config.rank_pattern.insert(layer.clone(), own);
            config.alpha_pattern.insert(layer.clone(), own as f64);
        }
        let target = layer.rsplit('.').next().unwrap_or(&layer).to_owned();
        if !targets.contains(&target) {
            targets.push(target);
        }
        let [a, b] = factors.tensors();
        tensors.insert(peft_name(&layer, "lora_A"), a);
        tensors.insert(peft_name(&layer, "lora_B"), b);
    }
    config.target_modules = Some(TargetModules::Names(targets));
    Adapter { config, tensors }
}

fn check(parts: &[(Adapter, f64)]) -> Result<(), ModelError> {
    if parts.is_empty() {
        let what = "expected at least one adapter, found none".to_owned();
        return Err(lora(what, "name the adapters to combine"));
    }
    for (adapter, weight) in parts {
        if !weight.is_finite() {
            let what = format!("expected a finite weight, found {weight}");
            return Err(lora(what, "1 takes an adapter as it is"));
        }
        let has_whole = adapter.config.modules_to_save.as_ref();
        let has_whole = has_whole.is_some_and(|modules| !modules.is_empty());
        let only_factors = adapter
            .tensors
            .keys()
            .all(|name| name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight"));
        if adapter.config.use_dora || has_whole || !only_factors {
            let what =
                "expected adapters of two factors, found DoRA or modules that were trained whole"
                    .to_owned();
            return Err(lora(what, "their effects do not add: merge one at a time"));
        }
    }
    Ok(())
}

/// The layer of a factor A.
fn layer_of(name: &str) -> Option<&str> {
    name.strip_prefix(PEFT_PREFIX)?
        .strip_suffix(".lora_A.weight")
}

fn wrong_shapes(layer: &str, a: &HostTensor, b: &HostTensor) -> ModelError {
    let what = format!(
        "layer `{layer}`: expected A [rank, in] and B [out, rank] as the other adapters have them, \
         found {:?} and {:?}",
        a.shape, b.shape
    );
    lora(what, "are the adapters for the same base model?")
}

fn lora(what: String, hint: &str) -> ModelError {
    ModelError::Lora {
        what,
        hint: hint.to_owned(),
    }
}

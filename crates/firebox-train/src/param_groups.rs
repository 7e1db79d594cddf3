//! Parameters with rates and decays of their own.

use std::collections::HashMap;

use burn::module::{Module, ParamId};
use firebox_model::matches_pattern;
use serde::{Deserialize, Serialize};

use crate::module_params::{TrainableParam, trainable_params};

/// Which parameters, and what is different for them.
///
/// A parameter belongs to the first group that it matches, or to none.
///
/// # Examples
///
/// No decay on norms and biases, and LoRA+'s faster second factor (Hayou et al., 2024,
/// <https://arxiv.org/abs/2402.12354>):
///
/// ```
/// use firebox_train::ParamGroup;
///
/// let no_decay = ParamGroup { max_axes: Some(1), weight_decay: Some(0.0), ..ParamGroup::default() };
/// let lora_plus = ParamGroup { rate_factor: 16.0, ..ParamGroup::matching("*.lora_b") };
/// # let _ = (no_decay, lora_plus);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParamGroup {
    /// The whole path, in which `*` stands for anything.
    pub matches: String,
    /// Only parameters of at most so many axes: 1 for norms and biases.
    pub max_axes: Option<usize>,
    /// Multiplies the learning rate.
    pub rate_factor: f64,
    /// Instead of the optimizer's weight decay.
    pub weight_decay: Option<f64>,
}

impl Default for ParamGroup {
    fn default() -> Self {
        Self {
            matches: "*".to_owned(),
            max_axes: None,
            rate_factor: 1.0,
            weight_decay: None,
        }
    }
}

impl ParamGroup {
    /// A group of these paths in which nothing is different yet.
    pub fn matching(pattern: &str) -> Self {
        Self {
            matches: pattern.to_owned(),
            ..Self::default()
        }
    }

    fn has(&self, param: &TrainableParam) -> bool {
        let fits = self.max_axes.is_none_or(|most| param.shape.len() <= most);
        fits && matches_pattern(&self.matches, &param.path)
    }
}

/// A group that no trainable parameter belongs to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "use `groups`: expected a trainable parameter that `{pattern}` matches, found {} \
     (hint: correct the pattern; `*` stands for anything)",
    listing(.paths)
)]
pub struct EmptyGroup {
    /// The pattern.
    pub pattern: String,
    /// The parameters that there are.
    pub paths: Vec<String>,
}

fn listing(paths: &[String]) -> String {
    const N_SHOWN: usize = 6;
    let shown = paths.iter().take(N_SHOWN).map(|path| format!("`{path}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(N_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What is different for a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupSettings {
    /// Multiplies the learning rate.
    pub rate_factor: f64,
    /// Instead of the optimizer's weight decay.
    pub weight_decay: Option<f64>,
}

/// The groups of one module.
#[derive(Debug, Clone, Default)]
pub struct ParamGroups {
    settings: HashMap<ParamId, GroupSettings>,
}

impl ParamGroups {
    /// Finds every trainable parameter's group.
    ///
    /// # Errors
    ///
    /// When a group stays empty.
    pub fn resolve<M: Module>(module: &M, groups: &[ParamGroup]) -> Result<Self, EmptyGroup> {
        let params = trainable_params(module);
        let mut n_members = vec![0; groups.len()];
        let mut settings = HashMap::new();
        for param in &params {
            let Some(at) = groups.iter().position(|group| group.has(param)) else {
                continue;
            };
            n_members[at] += 1;
            let group = GroupSettings {
                rate_factor: groups[at].rate_factor,
                weight_decay: groups[at].weight_decay,
            };
            settings.insert(param.id, group);
        }
        match n_members.iter().position(|n| *n == 0) {
            None => Ok(Self { settings }),
            Some(empty) => Err(EmptyGroup {
                pattern: groups[empty].matches.clone(),
                paths: params.into_iter().map(|param| param.path).collect(),
            }),
        }
    }

    /// What is different for this parameter, if anything.
    pub fn get(&self, id: ParamId) -> Option<GroupSettings> {
        self.settings.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{
        nn::{Linear, LinearConfig},
        tensor::Device,
    };

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, path, expected) in [
            ("*", "a.b", true),
            ("*.lora_b", "layers.0.lora.lora_b", true),
            ("*.lora_b", "layers.0.lora.lora_a", false),
            ("layers.*.weight", "layers.1.norm.weight", true),
            ("layers.*.weight", "layers.1.norm.bias", false),
            ("a*a", "a", false),
            ("weight", "weight", true),
        ] {
            assert_eq!(matches_pattern(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_first_group_that_fits_counts_and_an_empty_one_is_an_error() {
        let layer: Linear = LinearConfig::new(3, 2).init(&Device::default().autodiff());
        let no_decay = ParamGroup {
            max_axes: Some(1),
            weight_decay: Some(0.0),
            ..ParamGroup::default()
        };
        let fast = ParamGroup {
            rate_factor: 16.0,
            ..ParamGroup::matching("*")
        };
        let groups = ParamGroups::resolve(&layer, &[no_decay, fast]).unwrap();
        let weight = groups.get(layer.weight.id).unwrap();
        let bias = groups.get(layer.bias.as_ref().unwrap().id).unwrap();
        assert_eq!((weight.rate_factor, weight.weight_decay), (16.0, None));
        assert_eq!((bias.rate_factor, bias.weight_decay), (1.0, Some(0.0)));
        let empty = ParamGroups::resolve(&layer, &[ParamGroup::matching("*.lora_b")]);
        let text = empty.unwrap_err().to_string();
        assert!(
            text.contains("lora_b") && text.contains("`weight`"),
            "{text}"
        );
    }
}

//! `adapter_config.json`, with every key that PEFT writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Map, Value, json};

/// Which modules carry an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Every module whose name is, or ends in a dot and, one of these.
    Names(Vec<String>),
    /// A regular expression over whole names, or `all-linear`.
    Pattern(String),
}

/// PEFT's description of a LoRA adapter. Keys that have no field here are kept in `others`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// `LORA`.
    pub peft_type: String,
    /// `CAUSAL_LM` for a language model.
    #[serde(default)]
    pub task_type: Option<String>,
    /// The model that was adapted, as its trainer named it.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank: rows of A and columns of B.
    pub r: usize,
    /// Scale numerator.
    #[serde(serialize_with = "whole_if_possible", deserialize_with = "finite")]
    pub lora_alpha: f64,
    /// Share of inputs dropped while training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Which modules carry an adapter.
    #[serde(default)]
    pub target_modules: Option<TargetModules>,
    /// The scale is `alpha / sqrt(rank)`, not `alpha / rank`.
    #[serde(default)]
    pub use_rslora: bool,
    /// Weight-decomposed LoRA.
    #[serde(default)]
    pub use_dora: bool,
    /// The base's weights are `[in, out]`.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// Which biases were trained: `none`, `all` or `lora_only`.
    #[serde(default = "no_bias")]
    pub bias: String,
    /// Modules that were trained whole and are saved with the adapter.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Ranks that differ from `r`, by name pattern.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Scale numerators that differ from `lora_alpha`, by name pattern.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// PEFT's other keys, as they were read, or with PEFT's defaults.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl AdapterConfig {
    /// The config of a new adapter for a language model.
    pub fn new(
        rank: usize,
        alpha: f64,
        target_modules: impl IntoIterator<Item = impl Into<String>>,
        base_model: &str,
    ) -> Self {
        Self {
            peft_type: "LORA".to_owned(),
            task_type: Some("CAUSAL_LM".to_owned()),
            base_model_name_or_path: Some(base_model.to_owned()),
            r: rank,
            lora_alpha: alpha,
            lora_dropout: 0.0,
            target_modules: Some(TargetModules::Names(
                target_modules.into_iter().map(Into::into).collect(),
            )),
            use_rslora: false,
            use_dora: false,
            fan_in_fan_out: false,
            bias: no_bias(),
            modules_to_save: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            others: peft_defaults(),
        }
    }

    /// What the product of the two factors is multiplied by.
    ///
    /// `alpha / rank`, or with `use_rslora` `alpha / sqrt(rank)`.
    ///
    /// Source: Hu et al. (2021), <https://arxiv.org/abs/2106.09685>, section 4.1; Kalajdzievski
    /// (2023), <https://arxiv.org/abs/2312.03732>.
    pub fn scaling(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// The file's contents: sorted by key, as PEFT sorts them.
    pub(super) fn to_json(&self) -> Value {
        let sorted: BTreeMap<String, Value> = match serde_json::to_value(self) {
            Ok(Value::Object(keys)) => keys.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        Value::Object(sorted.into_iter().collect())
    }
}

fn no_bias() -> String {
    "none".to_owned()
}

/// PEFT has whole alphas, and readers that want them so.
fn whole_if_possible<S: Serializer>(alpha: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if alpha.fract() == 0.0 && alpha.abs() < 1e15 {
        serializer.serialize_i64(*alpha as i64)
    } else {
        serializer.serialize_f64(*alpha)
    }
}

fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let alpha = f64::deserialize(deserializer)?;
    if alpha.is_finite() {
        Ok(alpha)
    } else {
        Err(D::Error::custom("`lora_alpha` is not finite"))
    }
}

/// What PEFT 0.21 writes for options that are not used.
fn peft_defaults() -> Map<String, Value> {
    let mut defaults = Map::new();
    let unused = [
        "alora_invocation_tokens",
        "arrow_config",
        "auto_mapping",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "kasa_config",
        "layer_replication",
        "layers_pattern",
        "layers_to_transform",
        "lora_ga_config",
        "megatron_config",
        "monteclora_config",
        "revision",
        "target_parameters",
        "trainable_token_indices",
        "use_bdlora",
        "velora_config",
    ];
    defaults.extend(unused.map(|key| (key.to_owned(), Value::Null)));
    let set = [
        ("ensure_weight_tying", json!(false)),
        ("inference_mode", json!(true)),
        ("init_lora_weights", json!(true)),
        ("loftq_config", json!({})),
        ("lora_bias", json!(false)),
        ("megatron_core", json!("megatron.core")),
        ("peft_version", json!("0.21.2")),
        ("qalora_group_size", json!(16)),
        ("use_qalora", json!(false)),
    ];
    defaults.extend(set.map(|(key, value)| (key.to_owned(), value)));
    defaults
}

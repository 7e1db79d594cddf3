//! The fields that shape an answer, the same for every endpoint: names, ranges, defaults.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use firebox_engine::Grammar;
use firebox_model::{GenerateConfig, SamplingConfig};
use serde::Deserialize;
use serde_json::Number;

use crate::error::ApiError;
use crate::structured::StructuredOutputs;

/// OpenAI's bound on `stop`.
const MAX_STOPS: usize = 4;

/// OpenAI's bound on `temperature`.
const MAX_TEMPERATURE: f64 = 2.0;

/// Names of the fields that every endpoint takes.
pub(crate) const FIELDS: &[&str] = &[
    "model",
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "min_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "stop",
    "stream",
    "ignore_eos",
    "priority",
    "cache_prompt",
    "cache_salt",
    "structured_outputs",
    // Who asks, for abuse reports: it changes nothing, and clients send it.
    "user",
];

/// The sampling fields as they arrive.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SamplingFields {
    max_tokens: Option<Number>,
    /// OpenAI's newer name for `max_tokens`.
    max_completion_tokens: Option<Number>,
    /// transformers' name for `max_tokens`.
    max_new_tokens: Option<Number>,
    min_tokens: Option<Number>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    top_k: Option<Number>,
    min_p: Option<Number>,
    typical_p: Option<Number>,
    repetition_penalty: Option<Number>,
    presence_penalty: Option<Number>,
    frequency_penalty: Option<Number>,
    logit_bias: Option<BTreeMap<String, Number>>,
    seed: Option<Number>,
    stop: Option<Stop>,
    ignore_eos: Option<bool>,
    priority: Option<Number>,
    cache_prompt: Option<bool>,
    cache_salt: Option<String>,
    structured_outputs: Option<StructuredOutputs>,
}

/// One stop text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// How an answer is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// Without the model's end tokens.
    pub(crate) generate: GenerateConfig,
    pub(crate) grammar: Option<Grammar>,
    pub(crate) min_tokens: usize,
    pub(crate) ignore_eos: bool,
    pub(crate) priority: i32,
    pub(crate) cache_prompt: bool,
    pub(crate) cache_salt: u64,
}

/// What a request means that leaves a field out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) max_tokens: Option<usize>,
    /// The least that may be asked for.
    pub(crate) least_max_tokens: i64,
    pub(crate) temperature: f32,
    pub(crate) seed: u64,
}

impl SamplingFields {
    /// Checks every field.
    pub(crate) fn check(self, defaults: Defaults) -> Result<Sampling, ApiError> {
        let temperature = real(
            "temperature",
            &self.temperature,
            "a number from 0 to 2",
            |x| (0.0..=MAX_TEMPERATURE).contains(&x),
        )?;
        let share = |x: f64| x > 0.0 && x <= 1.0;
        let top_p = real("top_p", &self.top_p, "a number above 0 and up to 1", share)?;
        let typical_p = real(
            "typical_p",
            &self.typical_p,
            "a number above 0 and up to 1",
            share,
        )?;
        let min_p = real("min_p", &self.min_p, "a number from 0 and below 1", |x| {
            (0.0..1.0).contains(&x)
        })?;
        let name = "repetition_penalty";
        let expected = "a number above 0 that fits 32 bits";
        let repetition_penalty = real(name, &self.repetition_penalty, expected, |x| x > 0.0)?;
        let top_k = whole("top_k", &self.top_k, "a whole number from 0 up", |k| {
            k >= -1
        })?;
        let seed = whole("seed", &self.seed, "a whole number of 64 bits", |_| true)?;
        let sampling = SamplingConfig {
            temperature: temperature.unwrap_or(defaults.temperature),
            top_p: top_p.unwrap_or(1.0),
            // As vLLM has it, -1 keeps all too.
            top_k: top_k.map_or(0, |k| to_usize(k.max(0))),
            min_p: min_p.unwrap_or(0.0),
            typical_p: typical_p.unwrap_or(1.0),
            repetition_penalty: repetition_penalty.unwrap_or(1.0),
            presence_penalty: penalty("presence_penalty", &self.presence_penalty)?,
            frequency_penalty: penalty("frequency_penalty", &self.frequency_penalty)?,
            logit_bias: biases(self.logit_bias.as_ref())?,
            seed: seed.map_or(defaults.seed, i64::cast_unsigned),
        };
        let min_tokens = whole(
            "min_tokens",
            &self.min_tokens,
            "a whole number from 0 up",
            |n| n >= 0,
        )?;
        let priority = whole(
            "priority",
            &self.priority,
            "a whole number of 32 bits",
            |n| i32::try_from(n).is_ok(),
        )?;
        let max_tokens = self.max_tokens(defaults.least_max_tokens)?;
        let structured = self.structured_outputs;
        let grammar = structured.map(StructuredOutputs::grammar).transpose()?;
        Ok(Sampling {
            grammar,
            min_tokens: min_tokens.map_or(0, to_usize),
            ignore_eos: self.ignore_eos.unwrap_or(false),
            priority: priority.and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
            cache_prompt: self.cache_prompt.unwrap_or(true),
            cache_salt: self.cache_salt.as_deref().map_or(0, salt),
            generate: GenerateConfig {
                sampling,
                max_new_tokens: max_tokens.or(defaults.max_tokens).unwrap_or(usize::MAX),
                eos_ids: Vec::new(),
                stop: stop_texts(self.stop)?,
            },
        })
    }

    fn max_tokens(&self, least: i64) -> Result<Option<usize>, ApiError> {
        let names = [
            ("max_tokens", &self.max_tokens),
            ("max_completion_tokens", &self.max_completion_tokens),
            ("max_new_tokens", &self.max_new_tokens),
        ];
        let mut given = names.into_iter().filter(|(_, value)| value.is_some());
        let Some((name, value)) = given.next() else {
            return Ok(None);
        };
        if let Some((other, Some(found))) = given.find(|(_, other)| *other != value) {
            let expected = format!("the same value as in `{name}`");
            return Err(wrong(other, &expected, &found.to_string()));
        }
        let expected = format!("a whole number from {least} up");
        let n_tokens = whole(name, value, &expected, |n| n >= least)?;
        Ok(n_tokens.map(to_usize))
    }
}

/// A number for a text; 0 is that of no text.
fn salt(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish().max(1)
}

fn penalty(param: &str, value: &Option<Number>) -> Result<f32, ApiError> {
    let found = real(param, value, "a number from -2 to 2", |x| {
        (-2.0..=2.0).contains(&x)
    })?;
    Ok(found.unwrap_or(0.0))
}

fn biases(found: Option<&BTreeMap<String, Number>>) -> Result<Vec<(u32, f32)>, ApiError> {
    let mut biases = Vec::new();
    for (name, value) in found.into_iter().flatten() {
        let Ok(id) = name.parse::<u32>() else {
            let expected = "token ids as names";
            return Err(wrong("logit_bias", expected, &format!("`{name}`")));
        };
        let param = format!("logit_bias.{id}");
        let bias = real(
            &param,
            &Some(value.clone()),
            "a number from -100 to 100",
            |x| (-100.0..=100.0).contains(&x),
        )?;
        biases.extend(bias.map(|bias| (id, bias)));
    }
    Ok(biases)
}

/// A real number that `fits`, as f32.
fn real(
    param: &str,
    value: &Option<Number>,
    expected: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<Option<f32>, ApiError> {
    let Some(found) = value else { return Ok(None) };
    let number = found.as_f64().unwrap_or(f64::NAN);
    // Checked again as f32: a tiny number may round to 0 and a huge one to infinity.
    let rounded = number as f32;
    if fits(number) && fits(f64::from(rounded)) && rounded.is_finite() {
        return Ok(Some(rounded));
    }
    Err(wrong(param, expected, &found.to_string()))
}

/// A whole number that `fits`.
pub(crate) fn whole(
    param: &str,
    value: &Option<Number>,
    expected: &str,
    fits: impl Fn(i64) -> bool,
) -> Result<Option<i64>, ApiError> {
    let Some(found) = value else { return Ok(None) };
    match found.as_i64().filter(|number| fits(*number)) {
        Some(number) => Ok(Some(number)),
        None => Err(wrong(param, expected, &found.to_string())),
    }
}

/// A number known not to be negative; more than memory can count is as good as no limit.
pub(crate) fn to_usize(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(crate) fn wrong(param: &str, expected: &str, found: &str) -> ApiError {
    ApiError::FieldValue {
        param: param.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn stop_texts(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let texts = match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Several(texts)) => texts,
    };
    let found = if texts.len() > MAX_STOPS {
        format!("{} of them", texts.len())
    } else if texts.iter().any(String::is_empty) {
        "an empty one".to_owned()
    } else {
        return Ok(texts);
    };
    Err(wrong(
        "stop",
        &format!("at most {MAX_STOPS} texts, none of them empty"),
        &found,
    ))
}

//! The fields that shape an answer, the same for every endpoint: names, ranges, defaults.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use firebox_engine::Grammar;
use firebox_model::{GenerateConfig, SamplingConfig};
use serde::Deserialize;
use serde_json::Number;
use utoipa::ToSchema;
use utoipa::openapi::{
    Array, Object, RefOr, Schema,
    schema::{AnyOf, SchemaType, Type},
};

use crate::error::{ApiError, clipped};
use crate::schema::whole;
use crate::structured::StructuredOutputs;

/// OpenAI's bound on `stop`.
const MAX_STOPS: usize = 4;

/// Longest id of a token in `logit_bias`, in digits: no vocabulary has more.
const MAX_ID_DIGITS: usize = 9;

/// The sampling fields as they arrive. Their ranges are checked by the [`Schema`](crate::schema::Schema)
/// that is made of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct SamplingFields {
    /// The most new tokens; unless given, as many as fit into the context.
    #[schema(value_type = Option<u64>, minimum = 1)]
    max_tokens: Option<Number>,
    /// OpenAI's newer name for `max_tokens`.
    #[schema(value_type = Option<u64>, minimum = 1)]
    max_completion_tokens: Option<Number>,
    /// transformers' name for `max_tokens`.
    #[schema(value_type = Option<u64>, minimum = 1)]
    max_new_tokens: Option<Number>,
    /// Neither an end token nor a stop text ends the answer before so many tokens.
    #[schema(value_type = Option<u64>, minimum = 0, default = 0)]
    min_tokens: Option<Number>,
    /// What logits are divided by before a token is drawn; 0 always takes the likeliest.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 2, default = 1)]
    temperature: Option<Number>,
    /// Draws among the likeliest tokens that have this share of the probability together.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1, default = 1)]
    top_p: Option<Number>,
    /// Draws among so many of the likeliest tokens; 0 or -1 among all.
    #[schema(value_type = Option<i64>, minimum = -1, default = 0)]
    top_k: Option<Number>,
    /// Leaves out tokens with less than this share of the likeliest one's probability.
    #[schema(value_type = Option<f64>, minimum = 0, exclusive_maximum = 1, default = 0)]
    min_p: Option<Number>,
    /// Draws among the tokens of typical information that have this share of the probability together.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1, default = 1)]
    typical_p: Option<Number>,
    /// What logits of tokens that are in the text are divided by, multiplied where below 0.
    #[schema(value_type = Option<f64>, minimum = 0.01, maximum = 100, default = 1)]
    repetition_penalty: Option<Number>,
    /// Taken off the logits of tokens that are in the answer.
    #[schema(value_type = Option<f64>, minimum = -2, maximum = 2, default = 0)]
    presence_penalty: Option<Number>,
    /// Taken off the logits of tokens for each time that they are in the answer.
    #[schema(value_type = Option<f64>, minimum = -2, maximum = 2, default = 0)]
    frequency_penalty: Option<Number>,
    /// What is added to logits, by the token's id.
    #[schema(schema_with = logit_bias)]
    logit_bias: Option<BTreeMap<String, Number>>,
    /// The same seed gives the same answer; unless given, each request has one of its own.
    #[schema(
        value_type = Option<i64>,
        minimum = -9_223_372_036_854_775_808_i64,
        maximum = 9_223_372_036_854_775_807_i64
    )]
    seed: Option<Number>,
    /// Where the answer ends: a text, or up to four, which are left out of it.
    #[schema(schema_with = stop)]
    stop: Option<Stop>,
    /// Whether the answer goes on after the model's end tokens.
    #[schema(default = false)]
    ignore_eos: Option<bool>,
    /// Requests of a higher one are served first.
    #[schema(
        value_type = Option<i32>,
        minimum = -2_147_483_648_i64,
        maximum = 2_147_483_647_i64,
        default = 0
    )]
    priority: Option<Number>,
    /// Seconds that the answer may take, waiting included; the server has a limit of its own beside it.
    /// Of one key's requests the one that is late first is served first.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0)]
    timeout: Option<Number>,
    /// Whether the prompt is looked up in the prefix cache, and kept there.
    #[schema(default = true)]
    cache_prompt: Option<bool>,
    /// Only requests with the same text here find each other's prompts in the prefix cache.
    cache_salt: Option<String>,
    /// What the answer must look like, as vLLM's clients say it.
    structured_outputs: Option<StructuredOutputs>,
    /// Who asks, for the client's own records: it changes nothing.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// Token ids are names here, as JSON has no other.
fn logit_bias() -> impl Into<RefOr<Schema>> {
    let bias = Object::builder()
        .schema_type(Type::Number)
        .minimum(Some(-100))
        .maximum(Some(100));
    let id = Object::builder()
        .schema_type(Type::String)
        .pattern(Some(format!("^[0-9]{{1,{MAX_ID_DIGITS}}}$")));
    Object::builder()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .property_names(Some(id))
        .additional_properties(Some(RefOr::T(bias.into())))
        .description(Some("What is added to logits, by the token's id."))
}

fn stop() -> impl Into<RefOr<Schema>> {
    let text = || {
        Object::builder()
            .schema_type(Type::String)
            .min_length(Some(1))
    };
    AnyOf::builder()
        .item(Object::with_type(Type::Null))
        .item(text())
        .item(
            Array::builder()
                .items(RefOr::T(text().into()))
                .max_items(Some(MAX_STOPS)),
        )
        .description(Some(
            "Where the answer ends: a text, or up to four, which are left out of it.",
        ))
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
    /// Unless it is longer than can be counted.
    pub(crate) time_limit: Option<Duration>,
    pub(crate) cache_prompt: bool,
    pub(crate) cache_salt: u64,
}

/// What a request means that leaves a field out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) max_tokens: Option<usize>,
    pub(crate) temperature: f32,
    pub(crate) seed: u64,
}

impl SamplingFields {
    /// Checks what ranges do not say, and fills in what is left out.
    pub(crate) fn check(self, defaults: Defaults) -> Result<Sampling, ApiError> {
        let or = |field: &Option<Number>, default: f32| real(field).unwrap_or(default);
        // A tiny number may be 0 in f32, and one close to 1 may be 1.
        let share = |field| or(field, 1.0).max(f32::MIN_POSITIVE);
        let sampling = SamplingConfig {
            temperature: or(&self.temperature, defaults.temperature),
            top_p: share(&self.top_p),
            // As vLLM has it, -1 keeps all too.
            top_k: count(&self.top_k).unwrap_or(0),
            min_p: or(&self.min_p, 0.0).min(1.0_f32.next_down()),
            typical_p: share(&self.typical_p),
            repetition_penalty: or(&self.repetition_penalty, 1.0),
            presence_penalty: or(&self.presence_penalty, 0.0),
            frequency_penalty: or(&self.frequency_penalty, 0.0),
            logit_bias: biases(self.logit_bias.as_ref())?,
            seed: whole_field(&self.seed).map_or(defaults.seed, |seed| seed as u64),
        };
        let max_tokens = self.max_tokens()?;
        let structured = self.structured_outputs;
        let grammar = structured.map(StructuredOutputs::grammar).transpose()?;
        Ok(Sampling {
            grammar,
            min_tokens: count(&self.min_tokens).unwrap_or(0),
            ignore_eos: self.ignore_eos.unwrap_or(false),
            priority: whole_field(&self.priority).map_or(0, |priority| priority as i32),
            time_limit: self
                .timeout
                .and_then(|limit| Duration::try_from_secs_f64(limit.as_f64()?).ok()),
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

    fn max_tokens(&self) -> Result<Option<usize>, ApiError> {
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
        Ok(count(value))
    }
}

/// A number for a text; 0 is that of no text.
fn salt(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish().max(1)
}

fn biases(found: Option<&BTreeMap<String, Number>>) -> Result<Vec<(u32, f32)>, ApiError> {
    let mut biases = Vec::new();
    for (name, value) in found.into_iter().flatten() {
        let is_id = (1..=MAX_ID_DIGITS).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_digit());
        let (true, Ok(id)) = (is_id, name.parse()) else {
            let expected = format!("token ids of at most {MAX_ID_DIGITS} digits as names");
            return Err(wrong(
                "logit_bias",
                &expected,
                &format!("`{}`", clipped(name)),
            ));
        };
        let bias = value
            .as_f64()
            .filter(|bias| (-100.0..=100.0).contains(bias));
        let Some(bias) = bias else {
            let param = format!("logit_bias.{id}");
            return Err(wrong(
                &param,
                "a number from -100 to 100",
                &value.to_string(),
            ));
        };
        biases.push((id, bias as f32));
    }
    Ok(biases)
}

/// A real number as f32, whose range was checked.
fn real(field: &Option<Number>) -> Option<f32> {
    Some(field.as_ref()?.as_f64()? as f32)
}

/// A whole number, whose range was checked.
fn whole_field(field: &Option<Number>) -> Option<i128> {
    whole(field.as_ref()?)
}

/// A number of things, 0 where below; more than memory can count is as good as no limit.
pub(crate) fn count(field: &Option<Number>) -> Option<usize> {
    let number = whole_field(field)?.max(0);
    Some(usize::try_from(number).unwrap_or(usize::MAX))
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

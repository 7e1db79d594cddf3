//! The fields that shape an answer, the same for every endpoint: names, ranges, defaults.

use serde::Deserialize;
use serde_json::Number;

use crate::{GenerateRequest, Prompt, error::ApiError};

/// OpenAI's bound on `stop`.
const MAX_STOPS: usize = 4;

/// OpenAI's bound on `temperature`.
const MAX_TEMPERATURE: f64 = 2.0;

/// The sampling fields as they arrive.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SamplingFields {
    max_tokens: Option<Number>,
    /// OpenAI's newer name for `max_tokens`.
    max_completion_tokens: Option<Number>,
    /// transformers' name for `max_tokens`.
    max_new_tokens: Option<Number>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    top_k: Option<Number>,
    min_p: Option<Number>,
    repetition_penalty: Option<Number>,
    seed: Option<Number>,
    stop: Option<Stop>,
}

/// One stop text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// What a request means that leaves a field out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) max_tokens: Option<usize>,
    pub(crate) temperature: f32,
    pub(crate) seed: u64,
}

impl SamplingFields {
    /// Checks every field and joins them with the prompt.
    pub(crate) fn with_prompt(
        self,
        prompt: Prompt,
        defaults: Defaults,
    ) -> Result<GenerateRequest, ApiError> {
        let temperature = real(
            "temperature",
            &self.temperature,
            "a number from 0 to 2",
            |x| (0.0..=MAX_TEMPERATURE).contains(&x),
        )?;
        let top_p = real("top_p", &self.top_p, "a number above 0 and up to 1", |x| {
            x > 0.0 && x <= 1.0
        })?;
        let min_p = real("min_p", &self.min_p, "a number from 0 and below 1", |x| {
            (0.0..1.0).contains(&x)
        })?;
        let name = "repetition_penalty";
        let expected = "a number above 0 that fits 32 bits";
        let repetition_penalty = real(name, &self.repetition_penalty, expected, |x| x > 0.0)?;
        let top_k = whole("top_k", &self.top_k, "a whole number from 0 up", |k| k >= 0)?;
        let seed = whole("seed", &self.seed, "a whole number of 64 bits", |_| true)?;
        Ok(GenerateRequest {
            prompt,
            max_tokens: self.max_tokens()?.or(defaults.max_tokens),
            temperature: temperature.unwrap_or(defaults.temperature),
            top_p: top_p.unwrap_or(1.0),
            top_k: top_k.map_or(0, to_usize),
            min_p: min_p.unwrap_or(0.0),
            repetition_penalty: repetition_penalty.unwrap_or(1.0),
            seed: seed.map_or(defaults.seed, i64::cast_unsigned),
            stop: stop_texts(self.stop)?,
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
        let n_tokens = whole(name, value, "a whole number from 1 up", |n| n >= 1)?;
        Ok(n_tokens.map(to_usize))
    }
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
fn whole(
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
fn to_usize(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn wrong(param: &str, expected: &str, found: &str) -> ApiError {
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

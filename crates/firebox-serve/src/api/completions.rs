//! `POST /v1/completions`, as OpenAI's older clients and evaluation harnesses speak it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use firebox_data::Tokenizer;
use firebox_engine::{Finished, TokenLogprobs};
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::{
    logprobs::{Lists, TextOffset},
    reason,
    sse::{self, Chunks},
    streaming::{StreamOptions, Streaming},
    usage,
};
use crate::{
    app::{App, unix_seconds},
    auth::Caller,
    body::{JsonBody, Schema},
    error::ApiError,
    job::{Asked, Choice, Job},
    model::Prompt,
    sampling::{Defaults, SamplingFields, to_usize, whole, wrong},
};

const SCHEMA: Schema = Schema {
    required: &["prompt"],
    optional: &["n", "best_of", "echo", "logprobs", "stream_options"],
    samples: true,
    unsupported: &[("suffix", "\"\"")],
};

/// New tokens where the request does not say how many: OpenAI's number.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Answers to one request.
pub(crate) const MAX_CHOICES: usize = 128;

/// As vLLM's.
const MAX_LOGPROBS: i64 = 20;

#[derive(Debug, Deserialize)]
struct Fields {
    model: Option<String>,
    prompt: PromptField,
    n: Option<Number>,
    best_of: Option<Number>,
    echo: Option<bool>,
    logprobs: Option<Number>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an array of strings, an array of token ids, or an array of arrays of token ids"
)]
enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    Batches(Vec<Vec<u32>>),
}

impl PromptField {
    fn prompts(self) -> Vec<Prompt> {
        match self {
            Self::Text(text) => vec![Prompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
            Self::Ids(ids) => vec![Prompt::Ids(ids)],
            Self::Batches(batches) => batches.into_iter().map(Prompt::Ids).collect(),
        }
    }
}

pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let fields: Fields = body.parse()?;
    let sampling: SamplingFields = body.parse()?;
    app.check_model(fields.model)?;
    let streaming = Streaming::of(fields.stream, fields.stream_options.as_ref())?;
    let prompts = fields.prompt.prompts();
    let n = count("n", &fields.n)?.unwrap_or(1);
    let best_of = count("best_of", &fields.best_of)?.unwrap_or(n);
    check_counts(n, best_of, prompts.len(), streaming)?;
    let expected = "a whole number from 0 to 20";
    let logprobs = whole("logprobs", &fields.logprobs, expected, |n| {
        (0..=MAX_LOGPROBS).contains(&n)
    })?;
    let logprobs = logprobs.map(to_usize);
    let echo = fields.echo.unwrap_or(false);
    if echo && streaming != Streaming::Whole {
        return Err(ApiError::Unsupported {
            param: "echo".to_owned(),
            hint: " where `stream` is true".to_owned(),
        });
    }
    let defaults = Defaults {
        max_tokens: Some(DEFAULT_MAX_TOKENS),
        least_max_tokens: if echo { 0 } else { 1 },
        temperature: 1.0,
        seed: app.fresh_seed(),
    };
    let tokenizer = app.model.engine().tokenizer();
    let echoed = echo.then(|| prompts.iter().map(|prompt| echo_of(tokenizer, prompt)));
    let echoed: Option<Vec<String>> = echoed.map(Iterator::collect);
    let ranks = best_of > n;
    let asked = Asked {
        prompts,
        n: best_of,
        sampling: sampling.check(defaults)?,
        logprobs: logprobs.or(ranks.then_some(0)),
        prompt_logprobs: logprobs.filter(|_| echo),
    };
    let mut job = Job::start(&app, caller, asked).await?;
    let answer = Answer {
        id: format!("cmpl-{:016x}", app.unique_number()),
        created: unix_seconds(),
        model: app.model.name().to_owned(),
        n_prompt_tokens: job.n_prompt_tokens(),
        tokenizer: tokenizer.clone(),
        with_logprobs: logprobs.is_some(),
    };
    if let Streaming::Streamed { with_usage } = streaming {
        let chunks = CompletionChunks {
            answer,
            with_usage,
            offsets: BTreeMap::new(),
        };
        return Ok(sse::response(job, chunks));
    }
    let choices = job.collect().await?;
    let all: Vec<Finished> = choices.iter().map(|choice| choice.finished).collect();
    let mut written = Vec::new();
    for (i, choices) in in_groups(choices, best_of).into_iter().enumerate() {
        for choice in best(choices, n) {
            let echoed = echoed.as_ref().map(|echoed| echoed[i].as_str());
            let prompt = &job.prompts[i];
            written.push(answer.choice(written.len(), &choice, prompt, echoed));
        }
    }
    let mut whole = answer.json(&Value::Array(written));
    whole["usage"] = usage(answer.n_prompt_tokens, &all);
    Ok(Json(whole).into_response())
}

fn count(param: &str, value: &Option<Number>) -> Result<Option<usize>, ApiError> {
    let expected = format!("a whole number from 1 to {MAX_CHOICES}");
    let found = whole(param, value, &expected, |n| {
        (1..=MAX_CHOICES as i64).contains(&n)
    })?;
    Ok(found.map(to_usize))
}

fn check_counts(
    n: usize,
    best_of: usize,
    n_prompts: usize,
    streaming: Streaming,
) -> Result<(), ApiError> {
    if best_of < n {
        let expected = format!("at least `n`, {n}");
        return Err(wrong("best_of", &expected, &best_of.to_string()));
    }
    if best_of > n && streaming != Streaming::Whole {
        let expected = "the same as `n` where `stream` is true";
        return Err(wrong("best_of", expected, &best_of.to_string()));
    }
    if n_prompts == 0 {
        return Err(wrong("prompt", "at least one prompt", "none"));
    }
    if n_prompts * best_of > MAX_CHOICES {
        let expected = format!("at most {MAX_CHOICES} answers together");
        return Err(wrong(
            "prompt",
            &expected,
            &(n_prompts * best_of).to_string(),
        ));
    }
    Ok(())
}

fn echo_of(tokenizer: &Tokenizer, prompt: &Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Ids(ids) => tokenizer.decode(ids, false),
        Prompt::Chat(_) => String::new(),
    }
}

fn in_groups(choices: Vec<Choice>, n: usize) -> Vec<Vec<Choice>> {
    let mut groups: Vec<Vec<Choice>> = Vec::new();
    for (i, choice) in choices.into_iter().enumerate() {
        if i.is_multiple_of(n) {
            groups.push(Vec::new());
        }
        if let Some(group) = groups.last_mut() {
            group.push(choice);
        }
    }
    groups
}

/// The `n` whose tokens are likeliest on average, best first; all of them as they are where there
/// are no more.
fn best(mut choices: Vec<Choice>, n: usize) -> Vec<Choice> {
    if choices.len() > n {
        let mean = |choice: &Choice| {
            let logprobs = choice.tokens.iter().filter_map(|t| t.logprobs.as_ref());
            let sum: f32 = logprobs.map(|token| token.logprob).sum();
            sum / choice.tokens.len().max(1) as f32
        };
        choices.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
        choices.truncate(n);
    }
    choices
}

/// What all parts of an answer have in common.
struct Answer {
    id: String,
    created: u64,
    model: String,
    n_prompt_tokens: usize,
    tokenizer: Tokenizer,
    with_logprobs: bool,
}

impl Answer {
    fn json(&self, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn choice(&self, index: usize, choice: &Choice, prompt: &[u32], echo: Option<&str>) -> Value {
        let mut lists = Lists::default();
        let mut offset = TextOffset::default();
        if echo.is_some() {
            let before = std::iter::once(None).chain(choice.prompt.iter().map(Some));
            for (id, logprobs) in prompt.iter().zip(before) {
                lists.push(&self.tokenizer, (*id, true), logprobs, &mut offset);
            }
        }
        for token in &choice.tokens {
            lists.push(
                &self.tokenizer,
                (token.id, false),
                token.logprobs.as_ref(),
                &mut offset,
            );
        }
        json!({
            "index": index,
            "text": format!("{}{}", echo.unwrap_or(""), choice.text),
            "logprobs": self.with_logprobs.then(|| lists.json()),
            "finish_reason": reason(&choice.finished),
        })
    }
}

struct CompletionChunks {
    answer: Answer,
    with_usage: bool,
    /// Where each choice's text is.
    offsets: BTreeMap<usize, TextOffset>,
}

impl CompletionChunks {
    fn chunk(&self, choice: Value) -> Value {
        let mut chunk = self.answer.json(&json!([choice]));
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

impl Chunks for CompletionChunks {
    fn open(&self, _: usize) -> Option<Value> {
        None
    }

    fn wants_all(&self) -> bool {
        self.answer.with_logprobs
    }

    fn token(
        &mut self,
        choice: usize,
        id: u32,
        text: &str,
        logprobs: Option<&TokenLogprobs>,
    ) -> Option<Value> {
        let lists = self.answer.with_logprobs.then(|| {
            let mut lists = Lists::default();
            let offset = self.offsets.entry(choice).or_default();
            lists.push(&self.answer.tokenizer, (id, false), logprobs, offset);
            lists.json()
        });
        let choice =
            json!({"index": choice, "text": text, "logprobs": lists, "finish_reason": null});
        Some(self.chunk(choice))
    }

    fn close(&mut self, choice: usize, finished: &Finished) -> Vec<Value> {
        let end = reason(finished);
        let choice = json!({"index": choice, "text": "", "logprobs": null, "finish_reason": end});
        vec![self.chunk(choice)]
    }

    fn end(&mut self, all: &[Finished]) -> Option<Value> {
        self.with_usage.then(|| {
            let mut last = self.answer.json(&json!([]));
            last["usage"] = usage(self.answer.n_prompt_tokens, all);
            last
        })
    }
}

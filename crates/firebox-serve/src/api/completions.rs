//! `POST /v1/completions`, as OpenAI's older clients and evaluation harnesses speak it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use firebox_data::Tokenizer;
use firebox_engine::{Finished, TokenLogprobs};
use serde_json::{Value, json};

use super::{
    answers::{Completion, CompletionEvent},
    completion_body::{CompletionBody, CompletionFields, DEFAULT_MAX_TOKENS, SCHEMA},
    document::{BodyRefusals, BusyRefusals},
    envelope::{Envelope, MAX_CHOICES},
    logprobs::{Lists, TextOffset},
    reason,
    sse::{self, Chunks},
    streaming::Streaming,
};
use crate::{
    app::App,
    auth::Caller,
    body::JsonBody,
    error::ApiError,
    job::{Asked, Choice, Job},
    model::Prompt,
    sampling::{Defaults, SamplingFields, count, wrong},
};

/// Continues prompts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    operation_id = "completion",
    tag = "answers",
    request_body(content = CompletionBody, example = json!({
        "prompt": "The capital of France is",
        "max_tokens": 8,
        "temperature": 0,
    })),
    responses(
        (
            status = 200,
            description = "The continuations, as events where `stream` is true.",
            content((Completion = "application/json"), (CompletionEvent = "text/event-stream"))
        ),
        BodyRefusals,
        BusyRefusals,
    )
)]
pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let fields: CompletionFields = body.parse()?;
    let sampling: SamplingFields = body.parse()?;
    let model = app.model.choose(fields.model)?;
    let streaming = Streaming::of(fields.stream, fields.stream_options.as_ref())?;
    let prompts = fields.prompt.prompts();
    let n = count(&fields.n).unwrap_or(1);
    let best_of = count(&fields.best_of).unwrap_or(n);
    check_counts(n, best_of, prompts.len(), streaming)?;
    let logprobs = count(&fields.logprobs);
    let echo = fields.echo.unwrap_or(false);
    if echo && streaming != Streaming::Whole {
        return Err(ApiError::Unsupported {
            param: "echo".to_owned(),
            hint: " where `stream` is true".to_owned(),
        });
    }
    let defaults = Defaults {
        max_tokens: Some(DEFAULT_MAX_TOKENS),
        temperature: 1.0,
        seed: app.fresh_seed(),
    };
    let tokenizer = app.model.engine().tokenizer();
    let echoed = echo.then(|| prompts.iter().map(|prompt| echo_of(tokenizer, prompt)));
    let echoed: Option<Vec<String>> = echoed.map(Iterator::collect);
    let ranks = best_of > n;
    let sampling = sampling.check(defaults)?;
    if sampling.generate.max_new_tokens == 0 && !echo {
        let expected = "a whole number from 1 up where `echo` is not true";
        return Err(wrong("max_tokens", expected, "0"));
    }
    let asked = Asked {
        model,
        prompts,
        n: best_of,
        sampling,
        logprobs: logprobs.or(ranks.then_some(0)),
        prompt_logprobs: logprobs.filter(|_| echo),
    };
    let mut job = Job::start(&app, caller, asked).await?;
    let answer = Answer {
        envelope: Envelope::new(&app, &job, "cmpl", "text_completion"),
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
    for (i, choices) in choices.chunks(best_of).enumerate() {
        for choice in best(choices, n) {
            let echoed = echoed.as_ref().map(|echoed| echoed[i].as_str());
            let prompt = &job.prompts[i];
            written.push(answer.choice(written.len(), choice, prompt, echoed));
        }
    }
    Ok(Json(answer.envelope.whole(written, &all)).into_response())
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

/// The `n` whose tokens are likeliest on average, best first; all of them as they are where there
/// are no more.
fn best(choices: &[Choice], n: usize) -> Vec<&Choice> {
    let mut chosen: Vec<&Choice> = choices.iter().collect();
    if chosen.len() > n {
        let mean = |choice: &Choice| {
            let logprobs = choice.tokens.iter().filter_map(|t| t.logprobs.as_ref());
            let sum: f32 = logprobs.map(|token| token.logprob).sum();
            sum / choice.tokens.len().max(1) as f32
        };
        chosen.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
        chosen.truncate(n);
    }
    chosen
}

/// What all parts of an answer have in common.
struct Answer {
    envelope: Envelope,
    tokenizer: Tokenizer,
    with_logprobs: bool,
}

impl Answer {
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
        self.answer.envelope.chunk(choice, self.with_usage)
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
        self.answer.envelope.end(all, self.with_usage)
    }
}

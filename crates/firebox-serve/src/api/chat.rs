//! `POST /v1/chat/completions`, as OpenAI's clients speak it.

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
    answers::{ChatCompletion, ChatEvent},
    chat_body::{ChatBody, ChatFields, SCHEMA},
    document::{BodyRefusals, BusyRefusals},
    envelope::Envelope,
    logprobs::of_chat,
    reason,
    sse::{self, Chunks},
    streaming::Streaming,
};
use crate::{
    app::App,
    auth::Caller,
    body::JsonBody,
    call_reader::{CallReader, Part},
    error::ApiError,
    job::{Asked, Choice, Job},
    model::Prompt,
    sampling::{Defaults, SamplingFields, count, wrong},
};

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "chat",
    tag = "answers",
    request_body(content = ChatBody, example = json!({
        "messages": [{"role": "user", "content": "Name three animals of the sea."}],
        "max_tokens": 64,
    })),
    responses(
        (
            status = 200,
            description = "The answer, as events where `stream` is true.",
            content((ChatCompletion = "application/json"), (ChatEvent = "text/event-stream"))
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
    let mut fields: ChatFields = body.parse()?;
    let sampling: SamplingFields = body.parse()?;
    let model = app.model.choose(fields.model.take())?;
    let streaming = fields.streaming()?;
    let logprobs = fields.n_logprobs()?;
    // OpenAI's defaults.
    let defaults = Defaults {
        max_tokens: None,
        temperature: 1.0,
        seed: app.fresh_seed(),
    };
    let mut sampling = sampling.check(defaults)?;
    if let Some(grammar) = fields.response_format.take().and_then(|f| f.grammar()) {
        if sampling.grammar.is_some() {
            let expected = "none beside `response_format`";
            return Err(wrong("structured_outputs", expected, "one"));
        }
        sampling.grammar = Some(grammar);
    }
    let tools = fields.tools()?;
    if let Some(tools) = &tools {
        if sampling.grammar.is_some() {
            let expected = "none beside another form of the answer";
            return Err(wrong("tools", expected, "some"));
        }
        sampling.grammar = Some(tools.grammar());
    }
    let n = count(&fields.n).unwrap_or(1);
    let asked = Asked {
        model,
        sampling,
        prompts: vec![Prompt::Chat(fields.messages(tools.as_ref())?)],
        n,
        logprobs,
        prompt_logprobs: None,
    };
    let mut job = Job::start(&app, caller, asked).await?;
    let object = match streaming {
        Streaming::Whole => "chat.completion",
        Streaming::Streamed { .. } => "chat.completion.chunk",
    };
    let answer = Answer {
        envelope: Envelope::new(&app, &job, "chatcmpl", object),
        tokenizer: app.model.engine().tokenizer().clone(),
        with_logprobs: logprobs.is_some(),
        may_call: tools.is_some(),
        salt: app.unique_number(),
    };
    match streaming {
        Streaming::Streamed { with_usage } => {
            let chunks = ChatChunks {
                answer,
                with_usage,
                readers: BTreeMap::new(),
            };
            Ok(sse::response(job, chunks))
        }
        Streaming::Whole => {
            let choices = job.collect().await?;
            Ok(Json(answer.whole(&choices)).into_response())
        }
    }
}

/// What all parts of an answer have in common.
struct Answer {
    envelope: Envelope,
    tokenizer: Tokenizer,
    with_logprobs: bool,
    /// Whether a text may be calls of functions.
    may_call: bool,
    /// For the names of calls.
    salt: u64,
}

impl Answer {
    fn whole(&self, choices: &[Choice]) -> Value {
        let all: Vec<Finished> = choices.iter().map(|choice| choice.finished).collect();
        let written = choices.iter().enumerate();
        let written = written.map(|(index, choice)| self.choice(index, choice));
        self.envelope.whole(written.collect(), &all)
    }

    fn choice(&self, index: usize, choice: &Choice) -> Value {
        let tokens = choice.tokens.iter();
        let found = tokens.filter_map(|token| token.logprobs.as_ref());
        let mut message = json!({"role": "assistant", "content": choice.text, "refusal": null});
        let calls = self.calls(index, &choice.text);
        let end = end(&choice.finished, calls.len());
        if !calls.is_empty() {
            message["content"] = Value::Null;
            message["tool_calls"] = Value::Array(calls);
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": self.logprobs(found),
            "finish_reason": end,
        })
    }

    /// The calls that a choice's text is.
    fn calls(&self, choice: usize, text: &str) -> Vec<Value> {
        let mut calls: Vec<(String, String)> = Vec::new();
        if self.may_call {
            for part in CallReader::default().push(text) {
                match (part, calls.last_mut()) {
                    (Part::Call(name), _) => calls.push((name, String::new())),
                    (Part::Arguments(piece), Some((_, arguments))) => arguments.push_str(&piece),
                    (Part::Arguments(_) | Part::Text(_), _) => {}
                }
            }
        }
        let calls = calls.into_iter().enumerate();
        let written = calls.map(|(i, (name, arguments))| self.call(choice, i, &name, &arguments));
        written.collect()
    }

    fn call(&self, choice: usize, i: usize, name: &str, arguments: &str) -> Value {
        json!({
            "id": format!("call_{:016x}_{choice}_{i}", self.salt),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        })
    }

    fn logprobs<'a>(&self, found: impl Iterator<Item = &'a TokenLogprobs>) -> Value {
        if !self.with_logprobs {
            return Value::Null;
        }
        let content: Vec<Value> = found.map(|token| of_chat(&self.tokenizer, token)).collect();
        json!({"content": content, "refusal": null})
    }
}

struct ChatChunks {
    answer: Answer,
    with_usage: bool,
    /// Of each choice, where there may be calls.
    readers: BTreeMap<usize, CallReader>,
}

impl ChatChunks {
    fn delta(&self, index: usize, delta: Value, logprobs: Value, end: Option<&str>) -> Value {
        let choice =
            json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end});
        self.answer.envelope.chunk(choice, self.with_usage)
    }

    /// What this piece of a text adds to the message; nothing where it is held back.
    fn added(&mut self, choice: usize, piece: &str) -> Option<Value> {
        if !self.answer.may_call {
            return Some(json!({"content": piece}));
        }
        let reader = self.readers.entry(choice).or_default();
        let n_before = reader.n_calls();
        let parts = reader.push(piece);
        let mut calls = Vec::new();
        let mut next = n_before;
        for part in parts {
            match part {
                Part::Text(text) => return Some(json!({"content": text})),
                Part::Call(name) => {
                    let mut call = self.answer.call(choice, next, &name, "");
                    call["index"] = json!(next);
                    calls.push(call);
                    next += 1;
                }
                Part::Arguments(text) => {
                    let arguments = json!({"arguments": text});
                    calls.push(json!({"index": next - 1, "function": arguments}));
                }
            }
        }
        (!calls.is_empty()).then(|| json!({"tool_calls": calls}))
    }
}

impl Chunks for ChatChunks {
    fn open(&self, choice: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        Some(self.delta(choice, delta, Value::Null, None))
    }

    fn wants_all(&self) -> bool {
        self.answer.with_logprobs
    }

    fn token(
        &mut self,
        choice: usize,
        _: u32,
        text: &str,
        logprobs: Option<&TokenLogprobs>,
    ) -> Option<Value> {
        let delta = match self.added(choice, text) {
            Some(delta) => delta,
            // Probabilities are told of every token.
            None if self.answer.with_logprobs => json!({}),
            None => return None,
        };
        let logprobs = self.answer.logprobs(logprobs.into_iter());
        Some(self.delta(choice, delta, logprobs, None))
    }

    fn close(&mut self, choice: usize, finished: &Finished) -> Vec<Value> {
        let mut reader = self.readers.remove(&choice).unwrap_or_default();
        let mut chunks = Vec::new();
        if let Some(Part::Text(text)) = reader.finish() {
            chunks.push(self.delta(choice, json!({"content": text}), Value::Null, None));
        }
        let end = end(finished, reader.n_calls());
        chunks.push(self.delta(choice, json!({}), Value::Null, Some(end)));
        chunks
    }

    fn end(&mut self, all: &[Finished]) -> Option<Value> {
        self.answer.envelope.end(all, self.with_usage)
    }
}

/// OpenAI's `finish_reason`. A call that was cut off was not made.
fn end(finished: &Finished, n_calls: usize) -> &'static str {
    match reason(finished) {
        "stop" if n_calls > 0 => "tool_calls",
        reason => reason,
    }
}

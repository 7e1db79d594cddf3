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
    error::ApiError,
    job::{Asked, Choice, Job},
    model::Prompt,
    sampling::{Defaults, SamplingFields, count, wrong},
    tools,
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
    app.check_model(fields.model.take())?;
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
                held: BTreeMap::new(),
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
        let mut end = reason(&choice.finished);
        if let Some(calls) = self.calls(index, &choice.text) {
            (message["content"], end) = (Value::Null, "tool_calls");
            message["tool_calls"] = calls;
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": self.logprobs(found),
            "finish_reason": end,
        })
    }

    /// The calls that a choice's text is.
    fn calls(&self, choice: usize, text: &str) -> Option<Value> {
        let calls = tools::parse(text).filter(|_| self.may_call)?;
        let calls = calls.into_iter().enumerate().map(|(i, call)| {
            json!({
                "id": format!("call_{:016x}_{choice}_{i}", self.salt),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments.to_string()},
            })
        });
        Some(calls.collect())
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
    /// Texts that may be calls, of which nothing is shown before they are whole; none where a text is
    /// not held any more.
    held: BTreeMap<usize, Option<String>>,
}

impl ChatChunks {
    fn delta(&self, index: usize, delta: Value, logprobs: Value, end: Option<&str>) -> Value {
        let choice =
            json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end});
        self.answer.envelope.chunk(choice, self.with_usage)
    }

    /// What of the text so far is shown with this piece of it.
    fn shown(&mut self, choice: usize, piece: &str) -> Option<String> {
        if !self.answer.may_call {
            return Some(piece.to_owned());
        }
        let held = self
            .held
            .entry(choice)
            .or_insert_with(|| Some(String::new()));
        let Some(text) = held else {
            return Some(piece.to_owned());
        };
        text.push_str(piece);
        match tools::may_be_call(text) {
            true => None,
            false => held.take(),
        }
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
        let text = self.shown(choice, text)?;
        let logprobs = self.answer.logprobs(logprobs.into_iter());
        Some(self.delta(choice, json!({"content": text}), logprobs, None))
    }

    fn close(&mut self, choice: usize, finished: &Finished) -> Vec<Value> {
        let mut chunks = Vec::new();
        let mut end = reason(finished);
        if let Some(Some(text)) = self.held.remove(&choice) {
            let delta = match self.answer.calls(choice, &text) {
                None => json!({"content": text}),
                Some(mut calls) => {
                    for (i, call) in calls.as_array_mut().into_iter().flatten().enumerate() {
                        call["index"] = json!(i);
                    }
                    end = "tool_calls";
                    json!({"tool_calls": calls})
                }
            };
            chunks.push(self.delta(choice, delta, Value::Null, None));
        }
        chunks.push(self.delta(choice, json!({}), Value::Null, Some(end)));
        chunks
    }

    fn end(&mut self, all: &[Finished]) -> Option<Value> {
        self.answer.envelope.end(all, self.with_usage)
    }
}

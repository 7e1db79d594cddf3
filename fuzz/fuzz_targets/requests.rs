//! Any bytes as the body of a request, up to the first zero byte, and as the text that the model answers,
//! behind it. The first byte chooses the endpoint. The whole server is around it, but for TCP: an answer or a
//! refusal, never a panic or a status of 500; and JSON, whole or as events.
#![no_main]

mod bounded_alloc;

use std::sync::{Arc, LazyLock, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use firebox_data::{ChatTemplate, Tokenizer, train_byte_level_bpe};
use firebox_engine::{
    EngineError, EngineStats, Event, FinishReason, Finished, Sink, TextEngine, fuzzing::Grammars,
};
use firebox_serve::{ServedModel, Server};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Tokens that fit.
const MAX_SEQ_LEN: usize = 4096;

/// Tokens of an answer that a grammar is asked for.
const N_FOLLOWED: usize = 4;

/// Answers every prompt with the same text, and compiles grammars as the engine does.
struct Echo {
    tokenizer: Tokenizer,
    grammars: Grammars,
    answer: Arc<Mutex<String>>,
}

impl TextEngine for Echo {
    fn submit(
        &self,
        request: firebox_engine::Request,
        mut sink: Box<dyn Sink>,
    ) -> Result<(), EngineError> {
        let n_prompt_tokens = request.prompt_ids.len();
        match n_prompt_tokens {
            0 => return Err(EngineError::EmptyPrompt),
            1..MAX_SEQ_LEN => {}
            _ => {
                let max_seq_len = MAX_SEQ_LEN;
                return Err(EngineError::ContextLength { n_prompt_tokens, max_seq_len });
            }
        }
        if let Some(grammar) = &request.grammar {
            self.grammars.follow(grammar, N_FOLLOWED)?;
        }
        let text = self.answer.lock().expect("nobody panics").clone();
        sink.send(Event::Token { id: 1, text, logprobs: None });
        sink.send(Event::Finished(Finished {
            reason: FinishReason::Stop,
            n_prompt_tokens,
            n_cached_tokens: 0,
            n_new_tokens: 1,
            time_to_first_token: None,
        }));
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn max_seq_len(&self) -> usize {
        MAX_SEQ_LEN
    }

    fn is_alive(&self) -> bool {
        true
    }
}

struct Served {
    runtime: Runtime,
    router: Router,
    answer: Arc<Mutex<String>>,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let tokenizer = train_byte_level_bpe(["a"], 256, &[]).expect("a tokenizer");
    let answer = Arc::default();
    let engine = Echo {
        grammars: Grammars::new(tokenizer.clone()),
        tokenizer,
        answer: Arc::clone(&answer),
    };
    let model = ServedModel::new("model", engine).with_chat_template(ChatTemplate::chatml());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build();
    Served {
        runtime: runtime.expect("a runtime"),
        router: Server::builder().build().expect("a server").router(model),
        answer,
    }
});

fn check(path: &str, status: StatusCode, is_stream: bool, body: &[u8]) {
    let text = std::str::from_utf8(body).expect("answers are text");
    assert!(!status.is_server_error(), "{path}: {status} {text}");
    if !is_stream {
        let json: Value = serde_json::from_str(text).expect("an answer is JSON");
        assert_eq!(json["error"].is_object(), !status.is_success(), "{path}: {status} {text}");
        return;
    }
    for event in text.split_terminator("\n\n") {
        let data = event.strip_prefix("data: ").expect("events have data");
        assert!(data == "[DONE]" || serde_json::from_str::<Value>(data).is_ok(), "{path}: {data}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((endpoint, rest)) = bytes.split_first() else { return };
    let path = match endpoint {
        b'p' => "/v1/completions",
        b'g' => "/generate",
        b't' => "/tokenize",
        b'd' => "/detokenize",
        _ => "/v1/chat/completions",
    };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let [body, answer] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    let served = &*SERVED;
    *served.answer.lock().expect("nobody panics") = String::from_utf8_lossy(answer).into_owned();
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()))
        .expect("a request");
    served.runtime.block_on(async {
        let response = served.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let content_type = response.headers().get("content-type");
        let is_stream = content_type.is_some_and(|found| found == "text/event-stream");
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        check(path, status, is_stream, &body);
    });
});

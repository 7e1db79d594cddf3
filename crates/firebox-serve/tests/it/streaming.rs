//! Server-sent events.

use serde_json::{Value, json};

use crate::{
    client::start,
    fake::{Fake, N_TOKENS_BEFORE_FAILURE},
};

const CHAT: &str = "/v1/chat/completions";

fn chat(content: &str) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "seed": 5, "stream": true})
}

#[tokio::test]
async fn chat_deltas_concatenate_to_the_whole_answer() {
    let server = start(Fake::default()).await;
    for question in ["Hello", "你好", "?"] {
        let mut body = chat(question);
        let chunks = server.stream(CHAT, &body).await.all().await;
        body["stream"] = json!(false);
        let whole = server.post(CHAT, &body).await.json();
        let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
        let text: String = deltas
            .filter_map(|delta| delta["content"].as_str())
            .collect();
        assert_eq!(text, whole["choices"][0]["message"]["content"]);
        let last = chunks.last().unwrap();
        assert_eq!(
            last["choices"][0]["finish_reason"],
            whole["choices"][0]["finish_reason"]
        );
    }
}

#[tokio::test]
async fn chat_chunks_have_openais_shape() {
    let server = start(Fake::default()).await;
    let mut body = chat("Hello");
    body["max_tokens"] = json!(3);
    body["stream_options"] = json!({"include_usage": true});
    let mut chunks = server.stream(CHAT, &body).await.all().await;
    let ids: Vec<_> = chunks.iter_mut().map(|chunk| chunk["id"].take()).collect();
    assert!(
        ids.iter()
            .all(|id| *id == ids[0] && id.as_str().unwrap().starts_with("chatcmpl-"))
    );
    chunks
        .iter_mut()
        .for_each(|chunk| drop(chunk["created"].take()));
    insta::assert_json_snapshot!(chunks);
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for() {
    let server = start(Fake::default()).await;
    let chunks = server.stream(CHAT, &chat("Hello")).await.all().await;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["choices"].as_array().unwrap().len() == 1)
    );
}

#[tokio::test]
async fn generate_pieces_concatenate_to_the_whole_text() {
    let server = start(Fake::default()).await;
    let mut body = json!({"prompt": "Once", "max_tokens": 50, "stream": true});
    let mut events = server.stream("/generate", &body).await.all().await;
    body["stream"] = json!(false);
    let mut whole = server.post("/generate", &body).await.json();
    let text: String = events
        .iter()
        .map(|event| event["text"].as_str().unwrap())
        .collect();
    assert_eq!(whole["text"].take(), text);
    let mut last = events.pop().unwrap();
    assert_eq!(last["text"].take(), "");
    assert_eq!(last, whole);
}

#[tokio::test]
async fn pieces_arrive_while_the_rest_is_still_generated() {
    let server = start(Fake::slow()).await;
    let mut events = server.stream(CHAT, &chat("Hello")).await;
    for _ in 0..3 {
        events.next().await.unwrap();
    }
    assert_eq!(server.metrics.n_finished(), 0);
    assert_eq!(server.n_running(), 1);
}

#[tokio::test]
async fn a_failure_midway_is_the_last_event() {
    let server = start(Fake::default()).await;
    for question in ["fail late", "panic late"] {
        let mut events = server.stream(CHAT, &chat(question)).await;
        let mut seen = Vec::new();
        while let Some(data) = events.next().await {
            seen.push(serde_json::from_str::<Value>(&data).expect("no `[DONE]` after a failure"));
        }
        let error = seen.pop().unwrap()["error"].take();
        assert_eq!(error["type"], "server_error", "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(seen.len() <= 1 + N_TOKENS_BEFORE_FAILURE);
        assert_eq!(server.n_running(), 0);
    }
    assert_eq!(server.metrics.n_interrupted(), 2);
}

//! `/v1/chat/completions` and `/v1/models`, whole answers.

use serde_json::{Value, json};

use crate::{
    client::start,
    fake::{Fake, N_ANSWER_TOKENS},
};

const PATH: &str = "/v1/chat/completions";

/// A request; `more` adds fields or replaces them.
fn chat(more: &Value) -> Value {
    let mut body = json!({"model": "fake-1", "messages": [{"role": "user", "content": "Hello"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let server = start(Fake::default()).await;
    let mut answer = server
        .post(PATH, &chat(&json!({"temperature": 0, "max_tokens": 5})))
        .await
        .json();
    let id = answer["id"].take();
    assert!(id.as_str().unwrap().starts_with("chatcmpl-"), "{id}");
    assert!(answer["created"].take().as_u64().unwrap() > 1_700_000_000);
    insta::assert_json_snapshot!(answer);
}

#[tokio::test]
async fn the_end_of_the_answer_and_its_limit_are_told_apart() {
    let server = start(Fake::default()).await;
    let whole = server.post(PATH, &chat(&json!({}))).await.json();
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert!(whole["usage"]["completion_tokens"].as_u64().unwrap() >= N_ANSWER_TOKENS as u64);
    for name in ["max_tokens", "max_completion_tokens"] {
        let cut = server.post(PATH, &chat(&json!({name: 4}))).await.json();
        assert_eq!(cut["choices"][0]["finish_reason"], "length");
        assert_eq!(cut["usage"]["completion_tokens"], 4);
    }
}

#[tokio::test]
async fn a_seed_fixes_the_answer_and_its_absence_does_not() {
    let server = start(Fake::default()).await;
    let ask = async |more: Value| content(&server.post(PATH, &chat(&more)).await.json()).to_owned();
    let seeded = ask(json!({"seed": -3})).await;
    assert_eq!(seeded, ask(json!({"seed": -3, "temperature": 1.0})).await);
    assert_ne!(seeded, ask(json!({"seed": 4})).await);
    assert_ne!(ask(json!({})).await, ask(json!({})).await);
    assert_eq!(
        ask(json!({"temperature": 0})).await,
        ask(json!({"temperature": 0})).await
    );
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_and_is_left_out() {
    let server = start(Fake::default()).await;
    for stop in [json!("水"), json!(["#", "水"])] {
        let answer = server
            .post(PATH, &chat(&json!({"stop": stop})))
            .await
            .json();
        assert!(!content(&answer).contains('水'));
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() < N_ANSWER_TOKENS as u64);
    }
}

#[tokio::test]
async fn content_may_come_in_parts() {
    let server = start(Fake::default()).await;
    let ask = async |content: Value| {
        let messages = json!([{"role": "user", "content": content}]);
        let body = chat(&json!({"messages": messages, "temperature": 0}));
        server.post(PATH, &body).await.json()["choices"].take()
    };
    let parts = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]);
    assert_eq!(ask(parts).await, ask(json!("one\ntwo")).await);
}

#[tokio::test]
async fn fields_that_change_nothing_are_accepted() {
    let server = start(Fake::default()).await;
    let neutral = json!({
        "n": 1, "tools": [], "logprobs": false, "presence_penalty": 0.0, "frequency_penalty": 0,
        "response_format": {"type": "text"}, "user": null, "temperature": null, "stop": null,
        "stream": false, "stream_options": null,
    });
    assert_eq!(server.post(PATH, &chat(&neutral)).await.status, 200);
}

#[tokio::test]
async fn the_model_may_go_unnamed() {
    let server = start(Fake::default()).await;
    let models = server.get("/v1/models").await.json();
    assert_eq!(models["object"], "list");
    assert_eq!(models["data"][0]["id"], "fake-1");
    assert_eq!(models["data"][0]["object"], "model");
    let named = server.post(PATH, &chat(&json!({"model": "fake-1"}))).await;
    let unnamed = server.post(PATH, &chat(&json!({"model": null}))).await;
    assert_eq!((named.status, unnamed.status), (200, 200));
    assert_eq!(unnamed.json()["model"], "fake-1");
    assert_eq!(
        server
            .post(PATH, &chat(&json!({"model": "other"})))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn sixteen_clients_at_once_each_get_the_answer_they_get_alone() {
    let server = start(Fake::default()).await;
    let body = |number: usize| {
        let question = format!("question {number}");
        let messages = json!([{"role": "user", "content": question}]);
        chat(&json!({"messages": messages, "temperature": 0}))
    };
    let mut alone = Vec::new();
    for number in 0..16 {
        alone.push(server.post(PATH, &body(number)).await.json()["choices"].take());
    }
    let together = futures_util::future::join_all((0..16).map(|number| {
        let (server, body) = (&server, body(number));
        async move { server.post(PATH, &body).await.json()["choices"].take() }
    }));
    assert_eq!(together.await, alone);
    assert_eq!(server.metrics.n_finished(), 32);
}

#[tokio::test]
async fn several_answers_have_seeds_of_their_own() {
    let server = start(Fake::default()).await;
    let body = chat(&json!({"n": 3, "seed": 7, "max_tokens": 9}));
    let answer = server.post(PATH, &body).await.json();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    assert_eq!(answer["usage"]["completion_tokens"], 27);
    for (i, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], i);
        let alone = chat(&json!({"seed": 7 + i, "max_tokens": 9}));
        let alone = server.post(PATH, &alone).await.json();
        assert_eq!(choice["message"], alone["choices"][0]["message"]);
    }
}

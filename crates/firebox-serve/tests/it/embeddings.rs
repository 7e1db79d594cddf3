//! `/v1/embeddings` over a tiny model.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use firebox_engine::TextEmbedder;
use firebox_serve::{EmbeddingModel, Keys, Server, new_key};
use serde_json::{Value, json};

use crate::{
    client::{JSON, Running, start, start_with},
    errors::answers,
    fake::Fake,
};

const PATH: &str = "/v1/embeddings";

fn golden(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/embedding/golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    golden[name].clone()
}

fn tiny() -> EmbeddingModel {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/embedding/tiny");
    EmbeddingModel::new("tiny", TextEmbedder::load(path).unwrap())
}

async fn served() -> Running {
    let builder = Server::builder().embedding_model(tiny());
    start_with(builder, Fake::default().served()).await
}

/// The vectors of an answer, which has everything that OpenAI's has.
#[track_caller]
fn vectors(answer: &Value, n_tokens: usize) -> Vec<Vec<f32>> {
    assert_eq!(answer["object"], "list");
    assert_eq!(answer["model"], "tiny");
    let usage = json!({"prompt_tokens": n_tokens, "total_tokens": n_tokens});
    assert_eq!(answer["usage"], usage);
    let items = answer["data"].as_array().unwrap().iter().enumerate();
    let vector = |(i, item): (usize, &Value)| {
        assert_eq!(
            (&item["object"], &item["index"]),
            (&json!("embedding"), &json!(i))
        );
        serde_json::from_value(item["embedding"].clone()).unwrap()
    };
    items.map(vector).collect()
}

#[tokio::test]
async fn texts_and_ids_become_the_vectors_of_sentence_transformers() {
    let server = served().await;
    let expected: Vec<Vec<f32>> = serde_json::from_value(golden("embeddings")).unwrap();
    let (texts, ids) = (golden("texts"), golden("token_ids"));
    let (short, short_ids) = (json!([texts[0], texts[1]]), json!([ids[0], ids[1]]));
    for (input, n) in [
        (short.clone(), 2),
        (short_ids.clone(), 2),
        (texts[0].clone(), 1),
        (ids[0].clone(), 1),
    ] {
        let answer = server
            .post(PATH, &json!({"input": input, "model": "tiny"}))
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let found = vectors(&answer.json(), if n == 2 { 12 } else { 9 });
        assert_eq!(found.len(), n);
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 5e-6, "{found} and {expected}");
        }
    }
    // All of them, cut to what the model reads: 9 + 3 + 24 + 24 + 3 tokens.
    let all =
        json!({"input": texts, "truncate_prompt_tokens": -1, "user": "ann", "dimensions": 20});
    let found = vectors(&server.post(PATH, &all).await.json(), 63);
    assert_eq!(found.len(), 5);
    let shorter = json!({"input": texts, "truncate_prompt_tokens": 5});
    let found = vectors(&server.post(PATH, &shorter).await.json(), 21);
    assert_ne!(found[4], found[0]);
}

#[tokio::test]
async fn base64_has_the_same_bytes() {
    let server = served().await;
    let mut body = json!({"input": ["heart", "no pain"], "encoding_format": "float"});
    let floats = server.post(PATH, &body).await.json();
    body["encoding_format"] = json!("base64");
    let coded = server.post(PATH, &body).await.json();
    for i in 0..2 {
        let text = coded["data"][i]["embedding"].as_str().unwrap();
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let found: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let expected: Vec<f32> =
            serde_json::from_value(floats["data"][i]["embedding"].clone()).unwrap();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn wrong_requests() {
    let server = served().await;
    let many = json!({"input": vec!["a"; 2049]}).to_string();
    let long = json!({"input": ["a", "a ".repeat(23)]}).to_string();
    let bodies = [
        r#"{}"#,
        r#"{"input": 5}"#,
        r#"{"input": ["a", 5]}"#,
        r#"{"input": ""}"#,
        r#"{"input": []}"#,
        r#"{"input": [[]]}"#,
        r#"{"input": ["a", ""]}"#,
        r#"{"input": [1, 5, 4000, 2]}"#,
        r#"{"input": "a", "model": "fake-1"}"#,
        r#"{"input": "a", "encoding_format": "int8"}"#,
        r#"{"input": "a", "dimensions": 10}"#,
        r#"{"input": "a", "dimension": 10}"#,
        r#"{"input": "a", "truncate_prompt_tokens": 2}"#,
        r#"{"input": "a", "truncate_prompt_tokens": 25}"#,
        r#"{"input": "a", "user": 1}"#,
        &long,
        &many,
    ];
    insta::assert_snapshot!(answers(&server, PATH, &bodies).await);
}

#[tokio::test]
async fn without_an_embedding_model_there_are_no_embeddings() {
    let server = start(Fake::default()).await;
    insta::assert_snapshot!(answers(&server, PATH, &[r#"{"input": "a"}"#]).await);
}

#[tokio::test]
async fn it_is_among_the_models_and_counted() {
    let server = served().await;
    let models = server.get("/v1/models").await.json();
    let ids: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(ids, ["fake-1", "tiny"]);
    let one = server.get("/v1/models/tiny").await.json();
    assert_eq!(
        (&one["id"], &one["max_model_len"]),
        (&json!("tiny"), &json!(24))
    );
    server
        .post(PATH, &json!({"input": ["heart", "liver"]}))
        .await;
    let page = String::from_utf8(server.get("/metrics").await.body).unwrap();
    for line in [
        "firebox:embedding_requests{model_name=\"tiny\"} 0",
        "firebox:embedding_requests_total{model_name=\"tiny\"} 1",
        "firebox:embedding_vectors_total{model_name=\"tiny\"} 2",
        "firebox:embedding_tokens_total{model_name=\"tiny\"} 6",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn keys_pay_for_tokens() {
    let (secret, mut entry) = new_key("ann").unwrap();
    entry.tokens_per_minute = Some(20);
    let keys = Keys::from_entries(vec![entry]).unwrap();
    let builder = Server::builder().keys(keys).embedding_model(tiny());
    let server = start_with(builder, Fake::default().served()).await;
    let body = json!({"input": "The patient was given a dose."}).to_string();
    assert_eq!(
        server
            .send("POST", PATH, &[JSON], body.as_bytes())
            .await
            .status,
        401
    );
    let bearer = format!("Bearer {secret}");
    let headers = [JSON, ("authorization", bearer.as_str())];
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = server.send("POST", PATH, &headers, body.as_bytes()).await;
        statuses.push(answer.status);
    }
    // Nine tokens each: the third begins with two left.
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test]
async fn many_at_once_are_answered_one_after_the_other() {
    let server = served().await;
    let body = json!({"input": golden("texts"), "truncate_prompt_tokens": -1});
    let alone = server.post(PATH, &body).await.json();
    let together = futures_util::future::join_all((0..20).map(|_| server.post(PATH, &body)));
    for answer in together.await {
        assert_eq!(answer.json(), alone);
    }
}

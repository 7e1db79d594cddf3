//! `/generate`, `/health` and request ids.

use serde_json::json;

use crate::{
    client::{Connection, JSON, request, start},
    fake::Fake,
};

#[tokio::test]
async fn a_text_is_continued() {
    let server = start(Fake::default()).await;
    let body = json!({"prompt": "Once upon a time", "max_tokens": 6});
    insta::assert_json_snapshot!(server.post("/generate", &body).await.json());
    assert_eq!(server.metrics.n_prompt_tokens(), 16);
    assert_eq!(server.metrics.n_completion_tokens(), 6);
}

#[tokio::test]
async fn it_is_greedy_and_short_unless_told_otherwise() {
    let server = start(Fake::default()).await;
    let first = server
        .post("/generate", &json!({"prompt": "Once"}))
        .await
        .json();
    assert_eq!(
        first,
        server
            .post("/generate", &json!({"prompt": "Once"}))
            .await
            .json()
    );
    assert_eq!(first["completion_tokens"], 128);
    let short = json!({"prompt": "Once", "max_new_tokens": 3, "temperature": 0.5, "seed": 1});
    assert_eq!(
        server.post("/generate", &short).await.json()["completion_tokens"],
        3
    );
}

#[tokio::test]
async fn health_and_readiness_are_told_also_while_it_is_busy() {
    let server = start(Fake::slow()).await;
    let body = json!({"prompt": "Once", "stream": true});
    let _running = server.stream("/generate", &body).await;
    let health = server.get("/health").await;
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "ok"}))
    );
    let ready = server.get("/ready").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"status": "ready"}))
    );
    assert_eq!(server.metrics.n_finished(), 0);
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_plain_one_is_kept() {
    let server = start(Fake::default()).await;
    let sent = server
        .send("GET", "/health", &[("x-request-id", "my-1")], b"")
        .await;
    assert_eq!(sent.header("x-request-id"), Some("my-1"));
    let unsafe_id = server
        .send("GET", "/nowhere", &[("x-request-id", "a b\"")], b"")
        .await;
    let id = unsafe_id.header("x-request-id").unwrap();
    assert_eq!(id.len(), 16, "{id}");
    assert_ne!(Some(id), server.get("/health").await.header("x-request-id"));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = start(Fake::default()).await;
    let mut connection = Connection::open(server.address).await;
    let body = json!({"prompt": "Once", "max_tokens": 2}).to_string();
    for headers in [vec![JSON], vec![], vec![JSON]] {
        let expected = if headers.is_empty() { 415 } else { 200 };
        connection
            .write(&request("POST", "/generate", &headers, body.as_bytes()))
            .await;
        assert_eq!(connection.read().await.status, expected);
    }
}

#[tokio::test]
async fn no_origin_is_allowed_across_sites() {
    let server = start(Fake::default()).await;
    let headers = [
        ("origin", "http://elsewhere"),
        ("access-control-request-method", "POST"),
    ];
    let preflight = server.send("OPTIONS", "/generate", &headers, b"").await;
    assert_eq!(preflight.status, 405);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
}

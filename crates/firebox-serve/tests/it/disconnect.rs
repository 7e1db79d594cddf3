//! The answer of a client that leaves is given up.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    client::{Connection, JSON, Running, eventually, request, start},
    fake::{Fake, N_ANSWER_TOKENS, Seen},
};

/// A server that takes seconds for an answer.
async fn slow_server() -> (Running, Arc<Seen>) {
    let fake = Fake::slow();
    let seen = Arc::clone(&fake.seen);
    (start(fake).await, seen)
}

async fn check_freed(server: &Running, seen: &Seen) {
    eventually("it is given up", || server.n_running() == 0).await;
    let n_tokens = seen.n_tokens.load(SeqCst);
    assert!(
        n_tokens < N_ANSWER_TOKENS,
        "stopped early, after {n_tokens} tokens"
    );
    sleep(Duration::from_millis(50)).await;
    assert_eq!(
        seen.n_tokens.load(SeqCst),
        n_tokens,
        "nothing goes on generating"
    );
    assert_eq!(server.metrics.n_interrupted(), 1);
    let next = server
        .post("/generate", &json!({"prompt": "a", "max_tokens": 1}))
        .await;
    assert_eq!(next.status, 200);
}

#[tokio::test]
async fn leaving_a_stream_midway_gives_it_up() {
    let (server, seen) = slow_server().await;
    for path in ["/generate", "/v1/chat/completions"] {
        seen.n_tokens.store(0, SeqCst);
        let body = match path {
            "/generate" => json!({"prompt": "a", "max_tokens": 900, "stream": true}),
            _ => json!({"messages": [{"role": "user", "content": "a"}], "stream": true}),
        };
        let interrupted = server.metrics.n_interrupted();
        let mut events = server.stream(path, &body).await;
        for _ in 0..3 {
            events.next().await.unwrap();
        }
        assert_eq!(server.n_running(), 1);
        drop(events);
        eventually("it is given up", || server.n_running() == 0).await;
        assert_eq!(server.metrics.n_interrupted(), interrupted + 1);
        assert!(seen.n_tokens.load(SeqCst) < N_ANSWER_TOKENS);
    }
}

#[tokio::test]
async fn leaving_before_a_whole_answer_gives_it_up() {
    let (server, seen) = slow_server().await;
    let mut connection = Connection::open(server.address).await;
    let body = json!({"prompt": "a", "max_tokens": 900}).to_string();
    connection
        .write(&request("POST", "/generate", &[JSON], body.as_bytes()))
        .await;
    eventually("generation runs", || seen.n_tokens.load(SeqCst) > 2).await;
    assert_eq!(server.n_running(), 1);
    drop(connection);
    check_freed(&server, &seen).await;
}

#[tokio::test]
async fn a_stream_left_without_a_close_is_noticed_by_reset() {
    let (server, seen) = slow_server().await;
    let body = json!({"prompt": "a", "max_tokens": 900, "stream": true});
    let mut events = server.stream("/generate", &body).await;
    events.next().await.unwrap();
    events.connection.0.get_ref().set_zero_linger().unwrap();
    drop(events);
    check_freed(&server, &seen).await;
}

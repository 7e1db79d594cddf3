//! A client that leaves frees its slot.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use firebox_serve::Server;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    client::{Connection, JSON, Running, eventually, request, start_with},
    fake::{Fake, N_ANSWER_TOKENS, Seen},
};

/// A server with one slot and a second per answer at least.
async fn slow_server() -> (Running, Arc<Seen>) {
    let fake = Fake::slow();
    let seen = Arc::clone(&fake.seen);
    (
        start_with(Server::builder().max_concurrent(1), fake).await,
        seen,
    )
}

async fn check_freed(server: &Running, seen: &Seen) {
    eventually("the slot is free", || server.metrics.n_slots_free() == 1).await;
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
async fn leaving_a_stream_midway_frees_the_slot() {
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
        assert_eq!(server.metrics.n_slots_free(), 0);
        drop(events);
        eventually("the slot is free", || server.metrics.n_slots_free() == 1).await;
        assert_eq!(server.metrics.n_interrupted(), interrupted + 1);
        assert!(seen.n_tokens.load(SeqCst) < N_ANSWER_TOKENS);
    }
}

#[tokio::test]
async fn leaving_before_a_whole_answer_frees_the_slot() {
    let (server, seen) = slow_server().await;
    let mut connection = Connection::open(server.address).await;
    let body = json!({"prompt": "a", "max_tokens": 900}).to_string();
    connection
        .write(&request("POST", "/generate", &[JSON], body.as_bytes()))
        .await;
    eventually("generation runs", || seen.n_tokens.load(SeqCst) > 2).await;
    assert_eq!(server.metrics.n_slots_free(), 0);
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

#[tokio::test]
async fn leaving_the_queue_gives_the_place_back() {
    let (server, _) = slow_server().await;
    let body = json!({"prompt": "a", "max_tokens": 900, "stream": true});
    let running = server.stream("/generate", &body).await;
    let mut waiting = Connection::open(server.address).await;
    waiting
        .write(&request(
            "POST",
            "/generate",
            &[JSON],
            body.to_string().as_bytes(),
        ))
        .await;
    eventually("one waits", || server.metrics.n_waiting() == 1).await;
    drop(waiting);
    eventually("none waits", || server.metrics.n_waiting() == 0).await;
    assert_eq!(server.metrics.n_slots_free(), 0);
    drop(running);
    eventually("the slot is free", || server.metrics.n_slots_free() == 1).await;
    assert_eq!(
        server.metrics.n_interrupted(),
        1,
        "the second never started"
    );
}

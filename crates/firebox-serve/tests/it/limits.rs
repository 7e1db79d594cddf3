//! Limits on the queue and on time.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use firebox_serve::Server;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::{
    client::{Connection, eventually, request, start, start_with},
    fake::{Fake, N_ANSWER_TOKENS},
};

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let fake = Fake {
        max_running: 1,
        ..Fake::slow()
    };
    let server = start(fake).await;
    let body = json!({"prompt": "a", "max_tokens": 900, "stream": true});
    let _running = server.stream("/generate", &body).await;
    let refused = server.post("/generate", &body).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("1"));
    insta::assert_json_snapshot!(refused.json());
}

#[tokio::test]
async fn further_connections_wait_for_a_place() {
    let builder = Server::builder().max_connections(1);
    let server = start_with(builder, Fake::default().served()).await;
    let first = Connection::open(server.address).await;
    let mut second = Connection::open(server.address).await;
    second.write(&request("GET", "/health", &[], b"")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.metrics.n_requests(), 0);
    drop(first);
    assert_eq!(second.read().await.status, 200);
}

#[tokio::test]
async fn an_answer_out_of_time_is_cut() {
    let builder = Server::builder().request_timeout(Duration::from_millis(200));
    let server = start_with(builder, Fake::slow().served()).await;
    let mut body = json!({"prompt": "a", "max_tokens": 900});
    let whole = server.post("/generate", &body).await;
    assert_eq!(whole.status, 503);
    insta::assert_json_snapshot!(whole.json());
    eventually("it is given up", || server.n_running() == 0).await;
    body["stream"] = json!(true);
    let mut events = server.stream("/generate", &body).await;
    let mut last = String::new();
    while let Some(data) = events.next().await {
        last = data;
    }
    assert!(last.contains("\"code\":\"timeout\""), "{last}");
    eventually("it is given up", || server.n_running() == 0).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_answer() {
    let builder = Server::builder().stall_timeout(Duration::from_millis(200));
    // A token of 100 kB: the sockets' buffers are full long before the answer's end.
    let fake = Fake {
        n_repeats: 100_000,
        token_time: Duration::from_millis(3),
        ..Fake::default()
    };
    let seen = Arc::clone(&fake.seen);
    let server = start_with(builder, fake.served()).await;
    let body = json!({"prompt": "a", "max_tokens": 900, "stream": true});
    let events = server.stream("/generate", &body).await;
    eventually("it is given up", || server.n_running() == 0).await;
    assert!(seen.n_tokens.load(SeqCst) < N_ANSWER_TOKENS);
    // The system closes the connection, which nobody reads.
    eventually("it is over", || server.metrics.n_interrupted() == 1).await;
    drop(events);
}

#[tokio::test]
async fn a_client_that_reads_late_loses_nothing() {
    let fake = Fake {
        n_repeats: 100_000,
        ..Fake::default()
    };
    let server = start(fake).await;
    let body = json!({"prompt": "a", "max_tokens": 128, "stream": true});
    let events = server.stream("/generate", &body).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let texts = events.all().await;
    let n_bytes: usize = texts
        .iter()
        .map(|event| event["text"].as_str().unwrap().len())
        .sum();
    assert!(n_bytes > 10_000_000, "{n_bytes}");
}

#[tokio::test]
async fn headers_and_bodies_that_never_end_are_dropped() {
    let builder = Server::builder().read_timeout(Duration::from_millis(200));
    let server = start_with(builder, Fake::default().served()).await;
    let started = Instant::now();
    let mut headers = Connection::open(server.address).await;
    headers
        .write(b"GET /health HTTP/1.1\r\nhost: a\r\nx: ")
        .await;
    let mut rest = Vec::new();
    // Closed, or reset: either way it is over.
    drop(headers.0.read_to_end(&mut rest).await);
    let mut body = Connection::open(server.address).await;
    let head = "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    body.write(format!("{head}content-length: 50\r\n\r\n{{").as_bytes())
        .await;
    let answer = body.read().await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (408, &json!("timeout"))
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let check = |builder: firebox_serve::ServerBuilder, expected: &str| {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    };
    let builder = Server::builder;
    check(
        builder().max_connections(0),
        "expected `max_connections` above zero, found 0",
    );
    check(
        builder().request_timeout(Duration::ZERO),
        "expected `request_timeout` above zero, found 0",
    );
    check(
        builder().max_body_bytes(0),
        "expected `max_body_bytes` above zero, found 0",
    );
}

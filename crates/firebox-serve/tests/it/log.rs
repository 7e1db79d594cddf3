//! What the log tells, and what it keeps to itself.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::{client::start, fake::Fake};

/// A log kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_ids_and_seeds_and_no_text() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    // Global, so that it also hears the blocking threads (and the other tests).
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = start(Fake::default()).await;
    let body = json!({"messages": [{"role": "user", "content": "my PIN is 4711"}], "seed": 86});
    let sent = [crate::client::JSON, ("x-request-id", "patient-7")];
    let path = "/v1/chat/completions";
    let answer = server
        .send("POST", path, &sent, body.to_string().as_bytes())
        .await
        .json();
    let refused = json!({"messages": [{"role": "my PIN is 4711", "content": "my PIN is 4711"}]});
    server.post(path, &refused).await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("seed=86"))
        .expect("a line on the start");
    assert!(line.contains("id=\"patient-7\""), "{line}");
    assert!(line.contains("n_prompt_tokens=21"), "{line}");
    assert!(!log.contains("4711"), "the question");
    let answer = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(!log.contains(&answer[..20]), "the answer");
}

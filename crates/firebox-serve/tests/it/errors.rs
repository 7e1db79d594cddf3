//! Every refusal, as a status and a body in OpenAI's error shape.

use std::fmt::Write;

use firebox_serve::Server;
use serde_json::{Value, json};

use crate::{
    client::{JSON, Running, start, start_with},
    fake::{Fake, MAX_SEQ_LEN},
};

type Headers = &'static [(&'static str, &'static str)];

const CHAT: &str = "/v1/chat/completions";

/// Sends each body and writes down what comes back, for a snapshot.
pub(crate) async fn answers(server: &Running, path: &str, bodies: &[&str]) -> String {
    let mut page = String::new();
    for body in bodies {
        let answer = server.send("POST", path, &[JSON], body.as_bytes()).await;
        check_shape(&answer.json());
        let shown: String = body.chars().take(100).collect();
        writeln!(
            page,
            "{shown}\n  {} {}",
            answer.status,
            answer.json()["error"]
        )
        .unwrap();
    }
    page
}

#[track_caller]
fn check_shape(body: &Value) {
    let error = body["error"].as_object().unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    assert_eq!(
        error.keys().collect::<Vec<_>>(),
        ["message", "type", "param", "code"]
    );
    assert!(
        error["message"].is_string() && error["type"].is_string(),
        "{body}"
    );
}

#[tokio::test]
async fn wrong_json() {
    let server = start(Fake::default()).await;
    let deep = "[".repeat(100_000);
    let bodies = [
        "",
        "{\"messages\": [}",
        "{\n  \"model\": \"fake-1\",\n  \"messages\": nope\n}",
        "[]",
        "null",
        "{\"messages\": []} {}",
        "{\"messages\": \"\u{1}\"}",
        &deep,
    ];
    insta::assert_snapshot!(answers(&server, CHAT, &bodies).await);
    let not_utf8 = server
        .send("POST", CHAT, &[JSON], b"{\"model\": \"\xff\"}")
        .await;
    assert_eq!(not_utf8.status, 400);
}

#[tokio::test]
async fn wrong_fields() {
    let server = start(Fake::default()).await;
    let bodies = [
        r#"{}"#,
        r#"{"messages": null}"#,
        r#"{"messages": "Hello"}"#,
        r#"{"messages": []}"#,
        r#"{"messages": [{"role": "user"}]}"#,
        r#"{"messages": [{"role": "user", "content": "a", "name": "b"}]}"#,
        r#"{"messages": [{"role": "user", "content": 1}]}"#,
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}"#,
        r#"{"messages": [{"role": "robot", "content": "a"}]}"#,
        r#"{"messages": [], "messages": []}"#,
        r#"{"messages": [], "temprature": 1}"#,
        r#"{"messages": [], "n": 0}"#,
        r#"{"messages": [], "tools": [{}]}"#,
        r#"{"messages": [], "top_logprobs": 2}"#,
        r#"{"messages": [], "logprobs": true, "top_logprobs": 21}"#,
        r#"{"messages": [], "stream": "yes"}"#,
        r#"{"messages": [], "stream_options": {"include_usage": true}}"#,
        r#"{"messages": [], "stream": true, "stream_options": {"include": true}}"#,
    ];
    insta::assert_snapshot!(answers(&server, CHAT, &bodies).await);
}

#[tokio::test]
async fn numbers_out_of_range() {
    let server = start(Fake::default()).await;
    let fields = [
        r#""temperature": -0.1"#,
        r#""temperature": 2.5"#,
        r#""temperature": 1e400"#,
        r#""temperature": "hot""#,
        r#""top_p": 0"#,
        r#""top_p": 1.01"#,
        r#""top_k": -2"#,
        r#""top_k": 1.5"#,
        r#""min_p": 1"#,
        r#""repetition_penalty": 0"#,
        r#""repetition_penalty": 1e39"#,
        r#""max_tokens": 0"#,
        r#""max_tokens": -5"#,
        r#""max_tokens": 5, "max_new_tokens": 6"#,
        r#""max_tokens": 5, "min_tokens": -1"#,
        r#""typical_p": 0"#,
        r#""presence_penalty": 2.1"#,
        r#""logit_bias": {"a": 1}"#,
        r#""logit_bias": {"+7": 1}"#,
        r#""logit_bias": {"7": 101}"#,
        r#""priority": 3000000000"#,
        r#""seed": 0.5"#,
        r#""stop": """#,
        r#""stop": 7"#,
        r#""stop": ["a", "b", "c", "d", "e"]"#,
    ];
    let bodies: Vec<_> = fields
        .iter()
        .map(|field| format!("{{\"prompt\": \"a\", {field}}}"))
        .collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    insta::assert_snapshot!(answers(&server, "/generate", &bodies).await);
}

#[tokio::test]
async fn prompts_that_cannot_be_answered() {
    let server = start(Fake::default()).await;
    let long = format!(r#"{{"prompt": "{}"}}"#, "a".repeat(MAX_SEQ_LEN));
    let bodies = [
        r#"{"prompt": ""}"#,
        r#"{"prompt": "a", "model": "gpt-5"}"#,
        r#"{"prompt": "fail late"}"#,
        r#"{"prompt": "panic late"}"#,
        &long,
    ];
    insta::assert_snapshot!(answers(&server, "/generate", &bodies).await);
    assert_eq!(server.n_running(), 0);
    let fits = json!({"prompt": "a".repeat(MAX_SEQ_LEN - 1)});
    assert_eq!(
        server.post("/generate", &fits).await.json()["completion_tokens"],
        1
    );
}

#[tokio::test]
async fn wrong_paths_methods_and_types() {
    let server = start(Fake::default()).await;
    let mut page = String::new();
    let requests: [(&str, &str, Headers); 7] = [
        ("GET", "/v1/engines", &[]),
        ("GET", "/generate", &[]),
        ("POST", "/v1/models", &[JSON]),
        ("POST", "/generate", &[]),
        ("POST", "/generate", &[("content-type", "text/plain")]),
        (
            "POST",
            "/generate",
            &[("content-type", "application/jsonish")],
        ),
        ("POST", "/generate", &[JSON, ("content-encoding", "gzip")]),
    ];
    for (method, path, headers) in requests {
        let answer = server.send(method, path, headers, b"{}").await;
        check_shape(&answer.json());
        let allow = answer.header("allow");
        writeln!(page, "{method} {path} {headers:?}").unwrap();
        writeln!(
            page,
            "  {} {} allow: {allow:?}",
            answer.status,
            answer.json()["error"]
        )
        .unwrap();
    }
    insta::assert_snapshot!(page);
    let with_charset = [("Content-Type", "application/json; charset=utf-8")];
    let body = br#"{"prompt": "a"}"#;
    assert_eq!(
        server
            .send("POST", "/generate", &with_charset, body)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn oversized_bodies() {
    let server = start_with(
        Server::builder().max_body_bytes(100),
        Fake::default().served(),
    )
    .await;
    // Far more than the sockets hold, all sent before the answer is read.
    for n_bytes in [101, 20_000_000] {
        let answer = server
            .send("POST", "/generate", &[JSON], &vec![b' '; n_bytes])
            .await;
        assert_eq!(answer.status, 413);
        check_shape(&answer.json());
        assert_eq!(answer.json()["error"]["code"], "body_too_large");
    }
    let mut fits = br#"{"prompt": "a"}"#.to_vec();
    fits.resize(100, b' ');
    assert_eq!(
        server
            .send("POST", "/generate", &[JSON], &fits)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn oversized_bodies_of_unknown_length() {
    use crate::client::Connection;

    let server = start_with(
        Server::builder().max_body_bytes(100),
        Fake::default().served(),
    )
    .await;
    let mut connection = Connection::open(server.address).await;
    let head = "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    connection
        .write(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())
        .await;
    for _ in 0..1000 {
        connection
            .write(format!("400\r\n{}\r\n", " ".repeat(0x400)).as_bytes())
            .await;
    }
    connection.write(b"0\r\n\r\n").await;
    assert_eq!(connection.read().await.status, 413);
}

#[tokio::test]
async fn an_oversized_body_that_asks_first_is_never_sent() {
    use crate::client::Connection;

    let server = start_with(
        Server::builder().max_body_bytes(100),
        Fake::default().served(),
    )
    .await;
    let mut connection = Connection::open(server.address).await;
    let head = "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let head = format!("{head}expect: 100-continue\r\ncontent-length: 101\r\n\r\n");
    connection.write(head.as_bytes()).await;
    assert_eq!(connection.read().await.status, 413);
}

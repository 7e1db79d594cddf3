//! A server on a free port, asked once over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use firebox_data::Message;
use firebox_model::InferenceModel;
use firebox_serve::Server;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::model::Loaded;
use super::super::serve::{runtime, usually_served};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the server said.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Served {
    pub(super) url: String,
    pub(super) question: String,
    pub(super) answer: String,
    /// Answer tokens a second, as the client sees them.
    pub(super) tokens_per_s: f64,
}

/// Starts a server for the model, asks it, and shuts it down.
pub(super) fn ask(
    loaded: Loaded<impl Into<InferenceModel>>,
    messages: &[Message],
    max_tokens: usize,
) -> anyhow::Result<Served> {
    let name = "loop";
    let question = messages
        .last()
        .map_or_else(String::new, |message| message.content.clone());
    // A model without a chat template cannot chat; it continues the question.
    let (path, answer_at, body) = match loaded.files.chat_template {
        Some(_) => (
            "/v1/chat/completions",
            "/choices/0/message/content",
            json!({ "messages": messages }),
        ),
        None => ("/generate", "/text", json!({ "prompt": question })),
    };
    let body = sampling(body, name, max_tokens);
    let model = usually_served(loaded, name.to_owned())?;
    let server = Server::builder()
        .address(SocketAddr::from(([127, 0, 0, 1], 0)))
        .build()?;
    let runtime = runtime()?;
    let listener = runtime.block_on(server.bind())?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.serve(listener, model, async {
        // The sender is dropped or sends: both end the server.
        let _ = stopped.await;
    }));
    let start = Instant::now();
    let reply = post(address, path, &body)?;
    let elapsed = start.elapsed().as_secs_f64();
    drop(stop);
    runtime.block_on(serving)?;
    let answer = reply.pointer(answer_at).and_then(Value::as_str);
    let n_tokens = reply["usage"]["completion_tokens"]
        .as_f64()
        .or(reply["completion_tokens"].as_f64());
    Ok(Served {
        url: format!("http://{address}{path}"),
        question,
        answer: answer
            .context("read the server's answer: no text in it")?
            .trim()
            .to_owned(),
        tokens_per_s: n_tokens.unwrap_or(0.0) / elapsed,
    })
}

fn sampling(mut body: Value, model: &str, max_tokens: usize) -> Value {
    body["model"] = model.into();
    body["max_tokens"] = max_tokens.into();
    body["temperature"] = 0.into();
    body
}

/// One HTTP/1.1 request to our own server; the connection is closed after it.
fn post(address: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .context("read the server's reply: no body in it")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!(
            "ask the server: expected status 200, found `{}`: {body}",
            head.lines().next().unwrap_or("")
        );
    }
    Ok(serde_json::from_str(body)?)
}

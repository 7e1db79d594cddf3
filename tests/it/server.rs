//! The server over the real model: many clients at once, each answered as if alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use firebox_checkpoint::Checkpoint;
use firebox_data::{ChatTemplate, Tokenizer};
use firebox_engine::{Engine, EngineConfig};
use firebox_model::{HostLlama, HostWeights};
use firebox_serve::{ServedModel, Server};
use serde_json::{Value, json};

use crate::fixtures::smollm2;

const QUESTIONS: [&str; 4] = [
    "What is the capital of France?",
    "Name three colours.",
    "用一句话介绍水。",
    "Write a line of Python that prints hello.",
];

fn served() -> ServedModel {
    let checkpoint = Checkpoint::open(smollm2()).unwrap();
    let tokenizer = Tokenizer::from_file(smollm2().join("tokenizer.json")).unwrap();
    let template = checkpoint.chat_template().unwrap();
    let template = ChatTemplate::new(&template, "<|im_start|>", "<|im_end|>").unwrap();
    let model = HostLlama::load(&checkpoint, HostWeights::Stored).unwrap();
    let engine = Engine::start(model, tokenizer, EngineConfig::default()).unwrap();
    ServedModel::new("smollm2", engine).with_chat_template(template)
}

/// The body of the reply to one request on a connection of its own.
fn post(address: SocketAddr, body: &Value) -> String {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        "POST /v1/chat/completions HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json";
    write!(
        stream,
        "{head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}\n{body}");
    body.to_owned()
}

fn request(question: &str, stream: bool) -> Value {
    json!({
        "model": "smollm2", "stream": stream, "temperature": 0, "max_tokens": 16,
        "messages": [{ "role": "user", "content": question }],
    })
}

fn ask(address: SocketAddr, question: &str) -> String {
    let reply: Value = serde_json::from_str(&post(address, &request(question, false))).unwrap();
    reply["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn ask_streamed(address: SocketAddr, question: &str) -> String {
    let events = post(address, &request(question, true));
    let data = events
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let chunks = data
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str::<Value>(data).unwrap());
    chunks
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

#[test]
fn sixteen_clients_at_once_are_answered_as_if_alone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder().address(address).build().unwrap();
    let model = served();
    let served = model.clone();
    let listener = runtime.block_on(server.bind()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.serve(listener, model, async {
        let _ = stopped.await;
    }));

    let alone: Vec<String> = QUESTIONS
        .iter()
        .map(|question| ask(address, question))
        .collect();
    assert!(alone[0].contains("Paris"), "{}", alone[0]);
    let clients = (0..16).map(|i| {
        let question = QUESTIONS[i % QUESTIONS.len()];
        thread::spawn(move || match i % 2 {
            0 => ask(address, question),
            _ => ask_streamed(address, question),
        })
    });
    let clients: Vec<_> = clients.collect();
    for (i, client) in clients.into_iter().enumerate() {
        assert_eq!(
            client.join().unwrap(),
            alone[i % QUESTIONS.len()],
            "client {i}"
        );
    }
    let stats = served.engine().stats();
    assert_eq!((stats.n_running, stats.n_blocks_held), (0, 0), "{stats:?}");
    assert!(stats.n_prefix_hits > 0, "{stats:?}");
    stop.send(()).unwrap();
    runtime.block_on(serving).unwrap();
}

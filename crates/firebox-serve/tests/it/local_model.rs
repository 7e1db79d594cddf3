//! A real decoder behind the server: tiny, with random weights and a byte-level tokenizer.

use std::path::Path;

use burn::tensor::Device;
use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_data::{ChatTemplate, Tokenizer, train_byte_level_bpe};
use firebox_engine::{Engine, EngineConfig};
use firebox_model::{HostLlama, HostWeights, Llama, LlamaConfig, LoraConfig, NamedWeight};
use firebox_serve::{ServedModel, Server};
use serde_json::{Value, json};

use crate::client::{Running, eventually, start_with};

const CHAT: &str = "/v1/chat/completions";

const MAX_SEQ_LEN: usize = 1024;

const N_CLIENTS: usize = 16;

fn tokenizer() -> Tokenizer {
    train_byte_level_bpe(["hello"], 260, &["<|im_start|>", "<|im_end|>"]).unwrap()
}

fn model(vocab_size: usize) -> Llama {
    // Wide enough for attention to outweigh the last token, which all questions share.
    let config = LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: MAX_SEQ_LEN,
        tie_embeddings: false,
        ..LlamaConfig::new(vocab_size, 256, 256, 2, 4)
    };
    config.init(7, &Device::flex())
}

fn served() -> ServedModel {
    let tokenizer = tokenizer();
    let model = model(tokenizer.vocab_size());
    let engine = Engine::start(model, tokenizer, EngineConfig::default()).unwrap();
    ServedModel::new("tiny", engine)
}

/// On the engine that batches and keeps texts.
pub(crate) fn chatty() -> ServedModel {
    let tokenizer = tokenizer();
    let model = model(tokenizer.vocab_size());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    let mut writer = HfWriter::create(&path).unwrap();
    writer.set_config(model.config().to_hf());
    NamedWeight::write_all(&model.named_weights(), writer, Dtype::F32).unwrap();
    let model = HostLlama::load(&Checkpoint::open(&path).unwrap(), HostWeights::Stored).unwrap();
    let engine = Engine::start(model, tokenizer, EngineConfig::default()).unwrap();
    ServedModel::new("tiny", engine).with_chat_template(ChatTemplate::chatml())
}

/// An adapter of that model, which answers otherwise with it.
pub(crate) fn write_adapter(path: &Path, seed: u64) {
    let config = LoraConfig::new(4, 8.0, ["v_proj", "down_proj"]);
    let mut model = model(tokenizer().vocab_size())
        .attach_lora(&config, seed)
        .unwrap();
    for (_, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.lora_b = lora.lora_b.clone().map(|b| b.add_scalar(0.1));
        }
    }
    firebox_checkpoint::write_adapter(path, &model.adapter("tiny").unwrap()).unwrap();
}

pub(crate) async fn server() -> Running {
    start_with(Server::builder(), chatty()).await
}

fn question(number: usize) -> Value {
    let messages = json!([{"role": "user", "content": format!("你好 {number}?").repeat(4)}]);
    json!({"model": "tiny", "messages": messages, "temperature": 0, "max_tokens": 24})
}

async fn streamed(server: &Running, mut body: Value) -> String {
    body["stream"] = json!(true);
    let chunks = server.stream(CHAT, &body).await.all().await;
    let deltas = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["content"]);
    deltas.filter_map(Value::as_str).collect()
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_at_once_each_get_the_greedy_answer_they_get_alone() {
    let server = server().await;
    let mut alone = Vec::new();
    for number in 0..N_CLIENTS {
        let answer = server.post(CHAT, &question(number)).await.json();
        assert_eq!(answer["usage"]["completion_tokens"], 24);
        assert!(!content(&answer).is_empty());
        alone.push(content(&answer).to_owned());
    }
    assert!(
        alone.iter().any(|answer| *answer != alone[0]),
        "the question matters"
    );
    let whole = futures_util::future::join_all((0..N_CLIENTS).map(|number| {
        let (server, body) = (&server, question(number));
        async move { content(&server.post(CHAT, &body).await.json()).to_owned() }
    }));
    assert_eq!(whole.await, alone);
    let streams = (0..N_CLIENTS).map(|number| streamed(&server, question(number)));
    assert_eq!(futures_util::future::join_all(streams).await, alone);
    assert_eq!(server.n_running(), 0);
}

#[tokio::test]
async fn a_seeded_stream_concatenates_to_the_whole_answer() {
    let server = server().await;
    for seed in 0..8 {
        let mut body = question(0);
        body["temperature"] = json!(1.5);
        body["top_k"] = json!(200);
        body["seed"] = json!(seed);
        // Random bytes make many broken characters, and a stop text that begins often.
        body["stop"] = json!(["e!", "aa"]);
        body["max_tokens"] = json!(100);
        let whole = server.post(CHAT, &body).await.json();
        assert_eq!(streamed(&server, body).await, content(&whole));
    }
}

#[tokio::test]
async fn an_answer_ends_where_the_context_does() {
    let server = server().await;
    let answer = server
        .post("/generate", &json!({"prompt": "abc", "max_tokens": 9999}))
        .await
        .json();
    assert_eq!(answer["finish_reason"], "length");
    let n_tokens = |name: &str| answer[name].as_u64().unwrap();
    assert_eq!(
        n_tokens("prompt_tokens") + n_tokens("completion_tokens"),
        MAX_SEQ_LEN as u64
    );
    let too_long = json!({"prompt": "a ".repeat(MAX_SEQ_LEN)});
    let refused = server.post("/generate", &too_long).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "context_length_exceeded");
}

#[tokio::test]
async fn end_ids_end_the_answer_and_leave_no_text() {
    let server = server().await;
    let body = json!({"prompt": "abc", "max_tokens": 100, "temperature": 1, "seed": 1});
    let whole = server.post("/generate", &body).await.json();
    let whole = whole["text"].as_str().unwrap();
    // A letter of the answer that is one token, made an end token.
    let at = whole.find(|c: char| c.is_ascii_uppercase()).unwrap();
    let end = tokenizer().encode(&whole[at..=at]).unwrap();
    let server = start_with(Server::builder(), served().with_eos_ids(end)).await;
    let ended = server.post("/generate", &body).await.json();
    assert_eq!(ended["text"], whole[..at]);
    assert_eq!(ended["finish_reason"], "stop");
}

#[tokio::test]
async fn a_model_without_a_template_takes_text_and_no_conversation() {
    let server = start_with(Server::builder(), served()).await;
    let refused = server.post(CHAT, &question(0)).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`/v1/completions`")
    );
    assert_eq!(
        server
            .post("/generate", &json!({"prompt": "abc"}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn leaving_gives_up_the_answer_of_a_real_model() {
    let server = server().await;
    let body = json!({"prompt": "abc", "max_tokens": 250, "stream": true});
    let mut events = server.stream("/generate", &body).await;
    events.next().await.unwrap();
    drop(events);
    eventually("it is given up", || server.n_running() == 0).await;
    assert_eq!(
        server.metrics.n_finished() + server.metrics.n_interrupted(),
        1
    );
}

#[tokio::test]
async fn a_request_has_the_time_that_it_asks_for() {
    let server = server().await;
    let mut body = question(1);
    body["max_tokens"] = json!(900);
    body["timeout"] = json!(0.001);
    let answer = server.post(CHAT, &body).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["code"]), (503, &json!("timeout")));
    body["max_tokens"] = json!(3);
    body["timeout"] = json!(1e300);
    assert_eq!(server.post(CHAT, &body).await.status, 200);
    body["timeout"] = json!(0);
    assert_eq!(server.post(CHAT, &body).await.status, 400);
}

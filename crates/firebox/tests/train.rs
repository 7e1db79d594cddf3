//! `firebox train` on a decoder that starts random and trains in seconds.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop where their files fail"
)]

mod tiny;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tiny::workplace;

fn firebox(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebox"));
    command.current_dir(dir).args(args).output().unwrap()
}

/// What a command that succeeds prints, and what it says besides.
fn printed(dir: &Path, args: &[&str]) -> (Value, String) {
    let output = firebox(dir, args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    (serde_json::from_slice(&output.stdout).unwrap(), errors)
}

#[test]
fn a_run_ends_with_a_model_and_is_not_written_over_by_a_new_one() {
    let dir = workplace();
    let train = ["train", "--config", "tiny.toml", "--json"];
    let (trained, _) = printed(dir.path(), &train);
    assert_eq!(trained["steps"], 6);
    assert!(
        dir.path()
            .join("runs/tiny/model/model.safetensors")
            .is_file()
    );

    let settings = || fs::read_to_string(dir.path().join("runs/tiny/train.toml")).unwrap();
    let before = settings();
    let again = firebox(dir.path(), &[&train[..], &["--precision", "bf16"]].concat());
    assert_eq!(again.status.code(), Some(2));
    let text = String::from_utf8(again.stderr).unwrap();
    assert!(text.contains("step 6") && text.contains("hint"), "{text}");
    assert_eq!(settings(), before);

    // A finished run that is resumed does nothing again.
    let resumed = firebox(dir.path(), &["train", "--resume", "runs/tiny", "--json"]);
    let resumed: Value = serde_json::from_slice(&resumed.stdout).unwrap();
    assert_eq!(resumed["last_loss"], trained["last_loss"]);
}

#[test]
fn packed_rows_and_token_shards_train_as_the_settings_say() {
    let dir = workplace();
    let run = |args: &[&str]| printed(dir.path(), args).0;
    let config = fs::read_to_string(dir.path().join("tiny.toml")).unwrap();
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    write(
        "packed.toml",
        config.replace("seq_len", "packed = true\nseq_len"),
    );
    let packed = run(&["train", "--config", "packed.toml", "--json"]);
    assert_eq!(packed["steps"], 6);

    // Shards need the tokenizer that they were written with.
    let tokenizer = "runs/packed/model/tokenizer.json";
    let pack = ["data", "pack", "data.jsonl", "--tokenizer", tokenizer];
    let written = run(&[&pack[..], &["--out", "shards", "--json"]].concat());
    assert_eq!(written["n_documents"], 40);
    let source = config.lines().find(|line| line.starts_with("source"));
    let from_shards = config
        .replace(
            source.unwrap(),
            "shards = [\"shards\"]\nheld_out = \"data.jsonl\"",
        )
        .replace("n_held_out = 4\n", "")
        .replace("vocab_size = 280", &format!("tokenizer = \"{tokenizer}\""));
    for packed in ["false", "true"] {
        let name = format!("shards-{packed}.toml");
        write(
            &name,
            from_shards.replace("seq_len", &format!("packed = {packed}\nseq_len")),
        );
        let trained = run(&["train", "--config", &name, "--json"]);
        assert_eq!(trained["steps"], 6);
        let losses = ["last_loss", "first_loss"].map(|key| trained[key].as_f64().unwrap());
        assert!(losses[0] < losses[1], "{losses:?}");
    }

    let neither = config.replace(source.unwrap(), "");
    write("neither.toml", neither);
    let refused = firebox(dir.path(), &["train", "--config", "neither.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("`source` or `shards`, found neither"),
        "{text}"
    );
    assert!(text.contains("`data.n_held_out`"), "{text}");
}

const HEAD: &str = r#"
activation_checkpointing = true
[model]
from = "runs/tiny/model"
[head]
field = "organ"
[data]
source = "organs.jsonl"
held_out_years = "1979"
seq_len = 16
batch_size = 8
[train]
n_steps = 40
schedule = { peak = 1e-2 }
evaluation = { every_n_steps = 20 }
"#;

#[test]
fn a_new_head_learns_classes_and_its_model_is_scored_and_used() {
    let dir = workplace();
    let organs = ["heart", "liver"];
    let line = |i: usize| {
        let (organ, year) = (organs[i % 2], 1977 + i % 3);
        json!({ "id": i.to_string(), "text": format!("the {organ} {}", i / 2), "year": year, "organ": organ })
            .to_string()
    };
    let mut lines: Vec<String> = (0..60).map(line).collect();
    lines.push(json!({ "text": "of both", "year": 1977, "organ": organs }).to_string());
    fs::write(dir.path().join("organs.jsonl"), lines.join("\n")).unwrap();
    fs::write(dir.path().join("head.toml"), HEAD).unwrap();
    let run = |args: &[&str]| printed(dir.path(), args);
    run(&["train", "--config", "tiny.toml", "--json"]);
    let (trained, errors) = run(&["train", "--config", "head.toml", "--json"]);
    assert!(
        errors.contains("40 documents to train on, 20 held out, 2 outputs"),
        "{errors}"
    );
    assert!(errors.contains("1 training records do not fit"), "{errors}");
    assert_eq!(trained["scores"]["accuracy"], 1.0);

    let model = ["classify", "--model", "runs/head/model"];
    let data = [
        "--data",
        "organs.jsonl",
        "--field",
        "organ",
        "--years",
        "1979",
        "--json",
    ];
    let (scored, _) = run(&[&model[..], &data].concat());
    assert_eq!(scored["n_documents"], 20);
    assert_eq!(scored["accuracy"], 1.0);
    assert_eq!(scored["classes"][0]["label"], "heart");
    let (said, _) = run(&[&model[..], &["the liver 4", "--json"]].concat());
    assert_eq!(said[0]["labels"], json!(["liver"]));

    let no_head = ["classify", "--model", "runs/tiny/model", "the liver"];
    let refused = firebox(dir.path(), &no_head);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("score.weight") && text.contains("[head]"),
        "{text}"
    );

    // Settings that do not go together are all named.
    let bad = HEAD.replace("[head]", "[samples]\nprompts = [\"x\"]\n[head]");
    let bad = bad.replace("activation", "precision = \"f16\"\nactivation");
    fs::write(dir.path().join("bad.toml"), bad).unwrap();
    let refused = firebox(dir.path(), &["train", "--config", "bad.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("`samples`") && text.contains("`activation_checkpointing`"),
        "{text}"
    );
}

#[test]
fn a_run_is_planned_refused_and_ended_by_its_memory() {
    let dir = workplace();
    let plan = ["train", "--config", "tiny.toml", "--plan", "--json"];
    let output = firebox(dir.path(), &plan);
    let planned: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        planned["planned_bytes"].as_u64() > Some(40_000_000),
        "{planned}"
    );
    assert!(!dir.path().join("runs").exists());

    let config = fs::read_to_string(dir.path().join("tiny.toml")).unwrap();
    let tight = format!("memory_limit_mb = 1\n{config}");
    fs::write(dir.path().join("tight.toml"), &tight).unwrap();
    let refused = firebox(dir.path(), &["train", "--config", "tight.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("at most 1.0 MB") && text.contains("in all"),
        "{text}"
    );
    assert!(text.contains("--ignore-memory-plan"), "{text}");

    // Run all the same, it ends after the first step, and what was learned is kept.
    let stopped = firebox(
        dir.path(),
        &["train", "--config", "tight.toml", "--ignore-memory-plan"],
    );
    assert_eq!(stopped.status.code(), Some(2));
    let text = String::from_utf8(stopped.stderr).unwrap();
    assert!(text.contains("stopped: expected at most 1.0 MB"), "{text}");
    assert!(text.contains("--resume runs/tight"), "{text}");
    let settings = dir.path().join("runs/tight/train.toml");
    let written = fs::read_to_string(&settings).unwrap();
    let roomy = written.replace("memory_limit_mb = 1\n", "memory_limit_mb = 1000000\n");
    assert_ne!(roomy, written);
    fs::write(&settings, roomy).unwrap();
    let output = firebox(
        dir.path(),
        &[
            "train",
            "--resume",
            "runs/tight",
            "--ignore-memory-plan",
            "--json",
        ],
    );
    let resumed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let whole = firebox(dir.path(), &["train", "--config", "tiny.toml", "--json"]);
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(resumed["last_loss"], whole["last_loss"]);
}

#[test]
fn preferences_are_learned_by_an_adapter() {
    let dir = workplace();
    let run = |args: &[&str]| printed(dir.path(), args).0;
    run(&["train", "--config", "tiny.toml", "--json"]);
    // The model gets a chat template.
    let path = dir.path().join("runs/tiny/model/tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}";
    config["chat_template"] = json!(template);
    fs::write(&path, config.to_string()).unwrap();

    let pair = |i| {
        json!({ "prompt": format!("heart {i}"), "chosen": "blood", "rejected": "pumps" })
            .to_string()
    };
    let pairs: Vec<String> = (0..20).map(pair).collect();
    fs::write(dir.path().join("pairs.jsonl"), pairs.join("\n")).unwrap();
    let settings = r#"
        [model]
        from = "runs/tiny/model"
        [adapter]
        rank = 4
        alpha = 8.0
        targets = ["*_proj"]
        [preferences]
        beta = 0.5
        [data]
        source = "pairs.jsonl"
        n_held_out = 4
        seq_len = 100
        batch_size = 4
        [train]
        n_steps = 40
        schedule = { peak = 1e-2 }
        evaluation = { every_n_steps = 20 }
    "#;
    fs::write(dir.path().join("dpo.toml"), settings).unwrap();
    let trained = run(&["train", "--config", "dpo.toml", "--json"]);
    let first = trained["first_loss"].as_f64().unwrap();
    assert!((first - std::f64::consts::LN_2).abs() < 1e-5, "{first}");
    assert_eq!(trained["scores"]["accuracy"], 1.0);
    assert!(trained["held_out_loss"].as_f64() < Some(0.5), "{trained}");
    let adapter = dir
        .path()
        .join("runs/dpo/adapter/adapter_model.safetensors");
    assert!(adapter.is_file());

    let bad = settings
        .replace("[adapter]", "[unused]")
        .replace("beta = 0.5", "beta = 0.0");
    let bad = bad.replace(
        "[unused]\n        rank = 4\n        alpha = 8.0\n        targets = [\"*_proj\"]\n",
        "",
    );
    fs::write(dir.path().join("bad.toml"), bad).unwrap();
    let refused = firebox(dir.path(), &["train", "--config", "bad.toml"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("`preferences.beta`") && text.contains("`[adapter]`"),
        "{text}"
    );
}

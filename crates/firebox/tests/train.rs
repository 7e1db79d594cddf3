//! `firebox train` on a decoder that starts random and trains in seconds.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop where their files fail"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const CONFIG: &str = r#"
[model.new]
vocab_size = 280
d_model = 32
d_ff = 64
n_layers = 1
n_heads = 2
[data]
source = "DATA"
seq_len = 16
batch_size = 2
n_held_out = 4
[train]
n_steps = 6
schedule = { peak = 1e-3 }
evaluation = { every_n_steps = 3 }
checkpoints = { every_n_steps = 2, n_kept = 1 }
"#;

fn firebox(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebox"));
    command.current_dir(dir).args(args).output().unwrap()
}

/// A folder with texts and `tiny.toml`.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |i| json!({ "text": format!("the heart pumps blood {i} times") }).to_string();
    let lines: Vec<String> = (0..40).map(line).collect();
    let data = dir.path().join("data.jsonl");
    fs::write(&data, lines.join("\n")).unwrap();
    let config = CONFIG.replace("DATA", data.to_str().unwrap());
    fs::write(dir.path().join("tiny.toml"), config).unwrap();
    dir
}

#[test]
fn a_run_ends_with_a_model_and_is_not_written_over_by_a_new_one() {
    let dir = workplace();
    let train = ["train", "--config", "tiny.toml", "--json"];
    let output = firebox(dir.path(), &train);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let trained: Value = serde_json::from_slice(&output.stdout).unwrap();
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

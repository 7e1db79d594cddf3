//! `firebox train` under `mpirun`.
#![cfg(feature = "mpi")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop where their files fail"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

const CONFIG: &str = r#"
[model.new]
vocab_size = 280
d_model = 32
d_ff = 64
n_layers = 1
n_heads = 2
[data]
source = "data.jsonl"
seq_len = 16
batch_size = 2
n_held_out = 4
[train]
n_steps = 6
schedule = { peak = 1e-3 }
evaluation = { every_n_steps = 3 }
checkpoints = { every_n_steps = 2, n_kept = 2 }
"#;

/// A folder with texts and a config, changed as `change` says.
fn workplace(change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |i| json!({ "text": format!("the heart pumps blood {i} times") }).to_string();
    let lines: Vec<String> = (0..40).map(line).collect();
    fs::write(dir.path().join("data.jsonl"), lines.join("\n")).unwrap();
    fs::write(dir.path().join("tiny.toml"), change(CONFIG)).unwrap();
    dir
}

/// What the run prints: one rank's report, whatever their number.
fn train(n_ranks: usize, dir: &Path, args: &[&str]) -> Value {
    let output = Command::new("mpirun")
        .current_dir(dir)
        .args(["-n", &n_ranks.to_string(), "--oversubscribe"])
        .arg(env!("CARGO_BIN_EXE_firebox"))
        .args(["train", "--json"])
        .args(args)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .output()
        .expect("start `mpirun` (hint: apt-get install openmpi-bin)");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const NEW: &[&str] = &["--config", "tiny.toml"];

#[test]
fn two_ranks_write_the_model_of_one_process_with_twice_the_batches() {
    let one = workplace(|config| config.replace("[train]", "[train]\nn_accum_steps = 2"));
    let two =
        workplace(|config| config.replace("[train]", "[train]\nshard_optimizer_state = true"));
    let (first, second) = (train(1, one.path(), NEW), train(2, two.path(), NEW));
    for field in ["last_loss", "held_out_loss", "steps"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    let model = |dir: &Path| fs::read(dir.join("runs/tiny/model/model.safetensors")).unwrap();
    assert_eq!(model(one.path()), model(two.path()));
}

#[test]
fn ranks_share_a_loaders_documents_and_go_on_where_they_were() {
    let dir = workplace(|config| config.replace("seq_len", "packed = true\nseq_len"));
    let whole = train(2, dir.path(), NEW);
    assert_eq!(whole["steps"], 6);
    let checkpoints = dir.path().join("runs/tiny/checkpoints");
    fs::remove_dir_all(checkpoints.join("step-00000006")).unwrap();
    let resumed = train(2, dir.path(), &["--resume", "runs/tiny"]);
    for field in ["last_loss", "held_out_loss", "steps"] {
        assert_eq!(resumed[field], whole[field], "{field}");
    }
}

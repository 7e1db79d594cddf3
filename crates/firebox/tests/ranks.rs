//! `firebox train` under `mpirun`.
#![cfg(feature = "mpi")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop where their files fail"
)]

mod tiny;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A run's folder, with one more line under `section` of its config.
fn workplace_with(section: &str, line: &str) -> tempfile::TempDir {
    let dir = tiny::workplace();
    let path = dir.path().join("tiny.toml");
    let config = fs::read_to_string(&path).unwrap();
    // The checkpoint before the last is what a broken run goes on from.
    let config = config.replace("n_kept = 1", "n_kept = 2");
    let changed = config.replace(section, &format!("{section}\n{line}"));
    assert_ne!(changed, config);
    fs::write(&path, changed).unwrap();
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
    let one = workplace_with("[train]", "n_accum_steps = 2");
    let two = workplace_with("[train]", "shard_optimizer_state = true");
    let (first, second) = (train(1, one.path(), NEW), train(2, two.path(), NEW));
    for field in ["last_loss", "held_out_loss", "steps"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    let model = |dir: &Path| fs::read(dir.join("runs/tiny/model/model.safetensors")).unwrap();
    assert_eq!(model(one.path()), model(two.path()));
}

#[test]
fn ranks_share_a_loaders_documents_and_go_on_where_they_were() {
    let dir = workplace_with("[data]", "packed = true");
    let whole = train(2, dir.path(), NEW);
    assert_eq!(whole["steps"], 6);
    let checkpoints = dir.path().join("runs/tiny/checkpoints");
    fs::remove_dir_all(checkpoints.join("step-00000006")).unwrap();
    let resumed = train(2, dir.path(), &["--resume", "runs/tiny"]);
    for field in ["last_loss", "held_out_loss", "steps"] {
        assert_eq!(resumed[field], whole[field], "{field}");
    }
}

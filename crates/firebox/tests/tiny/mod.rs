//! A decoder that starts random and trains in seconds.

use std::fs;

use serde_json::json;

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

/// A folder with texts and `tiny.toml`.
pub(crate) fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |i| json!({ "text": format!("the heart pumps blood {i} times") }).to_string();
    let lines: Vec<String> = (0..40).map(line).collect();
    let data = dir.path().join("data.jsonl");
    fs::write(&data, lines.join("\n")).unwrap();
    let config = CONFIG.replace("DATA", data.to_str().unwrap());
    fs::write(dir.path().join("tiny.toml"), config).unwrap();
    dir
}

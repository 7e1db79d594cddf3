//! The GGUF read directly against llama.cpp with the exactly dequantized weights and an f32 cache.

use firebox_checkpoint::Checkpoint;
use firebox_model::{CausalLm, GenerateConfig, HostLlama, HostWeights, Llama, SamplingConfig};
use firebox_tensor::burn::tensor::Device;
use serde_json::Value;

use crate::fixtures::{assert_close, floats, gguf, ids};

/// Two programs that add the same f32 products in another order.
const TOLERANCE: f64 = 1e-3;

fn cases() -> serde_json::Map<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/llama_cpp_q4_1.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    golden["cases"].as_object().unwrap().clone()
}

#[test]
fn gguf_logits_and_nll_match_llama_cpp() {
    let checkpoint = Checkpoint::open(gguf()).unwrap();
    check_exact(&Llama::load(&checkpoint, &Device::flex()).unwrap());
    check_exact(&HostLlama::load(&checkpoint, HostWeights::F32).unwrap());
}

/// Blocks times 8-bit activations, here as there: both round the activations, not in the same
/// places. llama.cpp's own mean moves by as much between its f32 and its blocks.
#[test]
fn gguf_blocks_score_as_llama_cpp_scores_them() {
    let checkpoint = Checkpoint::open(gguf()).unwrap();
    let model = HostLlama::load(&checkpoint, HostWeights::Blocks).unwrap();
    assert!(
        model.n_bytes() < 130 << 20,
        "the blocks stay blocks: {}",
        model.n_bytes()
    );
    for (name, case) in cases() {
        let nll = model.token_nll(&ids(&case["token_ids"])).unwrap();
        let mean = |nll: &[f64]| nll.iter().sum::<f64>() / nll.len() as f64;
        let found = mean(&nll.into_iter().map(f64::from).collect::<Vec<_>>());
        let expected = mean(&floats(&case["q4_1"]["nll"]["per_token"]));
        assert_close(&format!("{name}: mean NLL"), &[found], &[expected], 0.03);
    }
}

fn check_exact(model: &impl CausalLm) {
    for (name, case) in cases() {
        let prompt = ids(&case["token_ids"]);
        let config = GenerateConfig {
            sampling: SamplingConfig::default(),
            max_new_tokens: 1,
            eos_ids: vec![],
            stop: vec![],
        };
        let logits = model
            .generate(&prompt, config, |_| String::new())
            .unwrap()
            .next_logits()
            .to_vec();
        let top = &case["f32"]["last_logits_top20"];
        let found: Vec<f64> = ids(&top["ids"])
            .iter()
            .map(|id| f64::from(logits[*id as usize]))
            .collect();
        assert_close(
            &format!("{name}: logits"),
            &found,
            &floats(&top["values"]),
            TOLERANCE,
        );
        let nll: Vec<f64> = model
            .token_nll(&prompt)
            .unwrap()
            .into_iter()
            .map(f64::from)
            .collect();
        assert_close(
            &format!("{name}: NLL"),
            &nll,
            &floats(&case["f32"]["nll"]["per_token"]),
            TOLERANCE,
        );
    }
}

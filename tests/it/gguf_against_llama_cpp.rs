//! The GGUF read directly against llama.cpp with the exactly dequantized weights and an f32 cache.

use firebox_checkpoint::Checkpoint;
use firebox_model::{GenerateConfig, Llama, SamplingConfig};
use firebox_tensor::burn::tensor::Device;
use serde_json::Value;

use crate::fixtures::{assert_close, floats, gguf, ids};

/// Two programs that add the same f32 products in another order.
const TOLERANCE: f64 = 1e-3;

#[test]
fn gguf_logits_and_nll_match_llama_cpp() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/llama_cpp_q4_1.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let model = Llama::load(&Checkpoint::open(gguf()).unwrap(), &Device::flex()).unwrap();
    for (name, case) in golden["cases"].as_object().unwrap() {
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
            .next_logits();
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

//! The decoder against transformers: ids, logits, hidden states, greedy tokens, per-token NLL.

use firebox_checkpoint::Checkpoint;
use firebox_data::{ChatTemplate, Message, Tokenizer};
use firebox_model::{CausalLm, GenerateConfig, HostLlama, HostWeights, Llama, SamplingConfig};
use firebox_tensor::burn::tensor::Tensor;
use serde_json::Value;

use crate::fixtures::{assert_close, floats, golden, ids, load, smollm2};

/// transformers in fp32 and llama.cpp with an f32 cache differ by 1.2e-4 in their logits.
const LOGIT_TOLERANCE: f64 = 2e-3;
const NLL_TOLERANCE: f64 = 1e-3;

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(smollm2().join("tokenizer.json")).unwrap()
}

/// The weights in bf16, as they are stored, computed in f32.
fn load_host() -> HostLlama {
    let checkpoint = Checkpoint::open(smollm2()).unwrap();
    HostLlama::load(&checkpoint, HostWeights::Stored).unwrap()
}

fn log_sum_exp(logits: &[f64]) -> f64 {
    let max = logits.iter().copied().fold(f64::MIN, f64::max);
    max + logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// First eight values and norm of the last position.
#[track_caller]
fn check_hidden(what: &str, state: Tensor<3>, expected: &Value) {
    let [_, seq, d_model] = state.dims();
    let last = state.narrow(1, seq - 1, 1).reshape([d_model]);
    let last: Vec<f64> = last.into_data().iter::<f64>().collect();
    // Values of this size have 7 digits in f32, less what 16 layers of sums lose.
    assert_close(what, &last[..8], &floats(&expected["first8"]), 2e-3);
    let norm = last.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert_close(what, &[norm], &[expected["l2"].as_f64().unwrap()], 2e-3);
}

/// The prompt as text, by the model's own chat template where the reference used it.
fn text_of(golden: &Value) -> String {
    let prompt = golden["prompt"].as_str().unwrap();
    if !golden["chat_template_applied"].as_bool().unwrap() {
        return prompt.to_owned();
    }
    let config = std::fs::read(smollm2().join("tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let source = config["chat_template"].as_str().unwrap();
    let template = ChatTemplate::new(source, "<|im_start|>", "<|im_end|>").unwrap();
    template.render(&[Message::user(prompt)], true).unwrap()
}

fn check_generation(model: &impl CausalLm, golden: &Value, prompt: &[u32]) {
    let config = GenerateConfig {
        sampling: SamplingConfig::default(),
        max_new_tokens: 48,
        eos_ids: vec![],
        stop: vec![],
    };
    let mut generation = model.generate(prompt, config, |_| String::new()).unwrap();
    let logits: Vec<f64> = generation
        .next_logits()
        .iter()
        .map(|logit| f64::from(*logit))
        .collect();
    let top = &golden["last_logits_top20"];
    let found: Vec<f64> = ids(&top["ids"])
        .iter()
        .map(|id| logits[*id as usize])
        .collect();
    assert_close("logits", &found, &floats(&top["values"]), LOGIT_TOLERANCE);
    let expected = golden["last_logsumexp"].as_f64().unwrap();
    assert_close(
        "logsumexp",
        &[log_sum_exp(&logits)],
        &[expected],
        LOGIT_TOLERANCE,
    );
    let greedy: Vec<u32> = generation.map(|token| token.id).collect();
    assert_eq!(greedy, ids(&golden["greedy"]["ids"]), "greedy tokens");
    let text = tokenizer().decode(&greedy, false);
    assert_eq!(text, golden["greedy"]["text"].as_str().unwrap());
}

fn check_nll(model: &impl CausalLm, golden: &Value, prompt: &[u32]) {
    let nll: Vec<f64> = model
        .token_nll(prompt)
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect();
    assert_close(
        "NLL",
        &nll[..8],
        &floats(&golden["nll"]["first8"]),
        NLL_TOLERANCE,
    );
    let mean = nll.iter().sum::<f64>() / nll.len() as f64;
    let expected = golden["nll"]["mean"].as_f64().unwrap();
    assert_close("mean NLL", &[mean], &[expected], NLL_TOLERANCE);
}

fn check_states(model: &Llama, golden: &Value, prompt: &[u32]) {
    let hidden = &golden["hidden_last_position"];
    let ids = model.ids_tensor(&[prompt]).unwrap();
    let states = model.hidden_states(ids.clone());
    check_hidden("embedding", states[0].clone(), &hidden["embedding"]);
    check_hidden("after layer 0", states[1].clone(), &hidden["after_layer_0"]);
    check_hidden(
        "after layer 15",
        states[16].clone(),
        &hidden["after_layer_15"],
    );
    check_hidden(
        "after the final norm",
        model.hidden(ids),
        &hidden["after_final_norm"],
    );
}

#[test]
fn three_prompts_match_transformers() {
    let (model, host) = (load(), load_host());
    for name in ["english", "chinese", "code"] {
        let golden = golden(&format!("{name}.json"));
        let text = text_of(&golden);
        assert_eq!(text, golden["text"].as_str().unwrap());
        let prompt = tokenizer().encode(&text).unwrap();
        assert_eq!(prompt, ids(&golden["token_ids"]), "{name}: ids");
        check_generation(&model, &golden, &prompt);
        check_nll(&model, &golden, &prompt);
        check_generation(&host, &golden, &prompt);
        check_nll(&host, &golden, &prompt);
        check_states(&model, &golden, &prompt);
    }
}

#[test]
fn fixed_text_nll_matches_transformers_token_by_token() {
    let golden = golden("fixed_text_nll.json");
    let tokens = tokenizer()
        .encode(golden["text"].as_str().unwrap())
        .unwrap();
    assert_eq!(tokens, ids(&golden["token_ids"]));
    let expected = floats(&golden["per_token"]);
    for nll in [load().token_nll(&tokens), load_host().token_nll(&tokens)] {
        let nll: Vec<f64> = nll.unwrap().into_iter().map(f64::from).collect();
        assert_close("NLL", &nll, &expected, NLL_TOLERANCE);
    }
}

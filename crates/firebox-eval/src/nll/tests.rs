use burn::tensor::Device;
use firebox_model::{Llama, LlamaConfig};

use super::*;

fn tiny(max_seq_len: usize) -> Llama {
    let config = LlamaConfig {
        n_kv_heads: 1,
        max_seq_len,
        ..LlamaConfig::new(50, 16, 24, 2, 2)
    };
    config.init(5, &Device::flex())
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 7 + 1) % 50).collect()
}

#[test]
fn texts_are_weighted_by_their_tokens() {
    let model = tiny(64);
    let texts = [text(5), text(20), text(1)];
    let mut seen = Vec::new();
    let report = nll(&model, &texts, |done| seen.push(done)).unwrap();
    let sum: f64 = texts[..2]
        .iter()
        .flat_map(|t| model.token_nll(t).unwrap())
        .map(f64::from)
        .sum();
    assert_eq!((report.tokens, seen.as_slice()), (4 + 19, &[1, 2, 3][..]));
    assert!((report.nll - sum / 23.0).abs() < 1e-9);
    assert!((report.perplexity.ln() - report.nll).abs() < 1e-12);
}

#[test]
fn a_fresh_model_is_near_the_uniform_one() {
    // Logits of deviation 0.02² · 16 move the loss by far less than this.
    let report = nll(&tiny(64), &[text(60)], |_| ()).unwrap();
    assert!((report.nll - 50_f64.ln()).abs() < 0.05, "{}", report.nll);
}

#[test]
fn a_text_past_the_context_is_scored_once_per_token() {
    let report = nll(&tiny(16), &[text(100)], |_| ()).unwrap();
    assert_eq!(report.tokens, 99);
}

#[test]
fn nothing_to_score_is_an_error() {
    let error = nll(&tiny(16), &[vec![1]], |_| ()).unwrap_err().to_string();
    assert!(error.contains("two tokens or more"), "{error}");
}

#[test]
fn only_labelled_tokens_count() {
    let model = tiny(64);
    let ids = text(6);
    let scores = model.token_nll(&ids).unwrap();
    let labels = vec![1, IGNORE, 3, IGNORE, IGNORE, 6];
    let report = nll_of_labels(&model, &[(ids.clone(), labels)], |_| ()).unwrap();
    let expected = f64::from(scores[1]) + f64::from(scores[4]);
    assert_eq!(report.tokens, 2);
    assert!((report.nll - expected / 2.0).abs() < 1e-9);
    assert!(nll_of_labels(&model, &[(ids, vec![IGNORE; 6])], |_| ()).is_err());
}

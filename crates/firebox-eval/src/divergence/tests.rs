use burn::tensor::Device;
use firebox_model::{Llama, LlamaConfig};

use super::*;

fn tiny(seed: u64, max_seq_len: usize) -> Llama {
    let config = LlamaConfig {
        n_kv_heads: 1,
        max_seq_len,
        ..LlamaConfig::new(50, 16, 24, 2, 2)
    };
    config.init(seed, &Device::flex())
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 7 + 1) % 50).collect()
}

#[test]
fn a_model_does_not_diverge_from_itself() {
    let model = tiny(5, 200);
    let texts = [text(150), text(1), text(3)];
    let mut seen = Vec::new();
    let report = divergence(&model, &model, &texts, |done| seen.push(done)).unwrap();
    assert_eq!((report.tokens, report.top1_agreement), (151, 1.0));
    assert_eq!(seen, [1, 2, 3]);
    assert!(report.kl.abs() < 1e-12 && report.nll == report.reference_nll);
    let expected = crate::nll(&model, &texts, |_| ()).unwrap().nll;
    assert!(
        (report.nll - expected).abs() < 1e-6,
        "{} and {expected}",
        report.nll
    );
}

#[test]
fn the_divergence_is_that_of_the_definition() {
    let (p, q) = ([2.0, 0.0, -1.0], [0.0, 1.0, 0.5]);
    let mut sums = Sums::default();
    sums.add(&Position::new(&p, &q, 1).unwrap());
    let softmax = |x: [f32; 3]| {
        let exp = x.map(|x| f64::from(x).exp());
        exp.map(|e| e / exp.iter().sum::<f64>())
    };
    let (p, q) = (softmax(p), softmax(q));
    let kl: f64 = (0..3).map(|i| p[i] * (p[i] / q[i]).ln()).sum();
    let report = sums.report().unwrap();
    assert!((report.kl - kl).abs() < 1e-6);
    assert!(
        (report.nll + q[1].ln()).abs() < 1e-6 && (report.reference_nll + p[1].ln()).abs() < 1e-6
    );
    assert_eq!(report.top1_agreement, 0.0);
}

#[test]
fn another_model_diverges_and_texts_are_cut_at_the_context() {
    let (reference, model) = (tiny(5, 200), tiny(6, 90));
    let report = divergence(&reference, &model, &[text(150)], |_| ()).unwrap();
    assert_eq!(report.tokens, 90);
    assert!(report.kl > 0.0 && report.top1_agreement < 1.0);
}

#[test]
fn without_two_tokens_there_is_nothing_to_compare() {
    let model = tiny(5, 20);
    let error = divergence(&model, &model, &[text(1)], |_| ()).unwrap_err();
    assert!(matches!(error, ModelError::Empty { .. }));
    let error = divergence(&model, &model, &[vec![3, 50]], |_| ()).unwrap_err();
    assert!(
        matches!(error, ModelError::TokenOutOfRange { id: 50, .. }),
        "{error}"
    );
}

use super::*;
use crate::llama::tests::tiny;
use serde_json::json;

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn classifier(task: HeadTask) -> SequenceClassifier {
    SequenceClassifier::new(tiny(), task, labels(&["a", "b", "c"]), 5).unwrap()
}

#[test]
fn a_document_has_the_same_logits_alone_and_beside_others() {
    let model = classifier(HeadTask::Classification);
    let documents = [vec![1, 5, 9, 33], vec![2], vec![7, 7, 3]];
    let together = model.predict(&documents).unwrap();
    for (document, expected) in documents.iter().zip(&together) {
        let alone = model.predict(std::slice::from_ref(document)).unwrap();
        for (found, expected) in alone[0].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }
    let sums = together.iter().map(|row| row.iter().sum::<f32>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-5));
}

#[test]
fn losses_are_those_of_their_formulas() {
    let documents = [vec![1, 5, 9, 33], vec![2]];
    let mean = |terms: Vec<f64>| terms.iter().sum::<f64>() / terms.len() as f64;
    let loss = |model: &SequenceClassifier, targets: &HeadTargets| {
        model.loss(&documents, targets).unwrap().mean
    };
    let outputs = |task| {
        let rows = classifier(task).predict(&documents).unwrap();
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(f64::from).collect());
        rows.collect::<Vec<Vec<f64>>>()
    };
    let p = outputs(HeadTask::Classification);
    let expected = mean(vec![-p[0][2].ln(), -p[1][0].ln()]);
    let found = loss(
        &classifier(HeadTask::Classification),
        &HeadTargets::Classes(vec![2, 0]),
    );
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");

    let wanted = vec![vec![1.0, 0.0, 1.0], vec![0.0, 0.0, 1.0]];
    let pairs = |rows: Vec<Vec<f64>>| {
        let wanted = wanted.concat();
        rows.concat()
            .into_iter()
            .zip(wanted)
            .collect::<Vec<(f64, f32)>>()
    };
    let terms = pairs(outputs(HeadTask::MultiLabel));
    let terms = terms
        .iter()
        .map(|(p, y)| -if *y > 0.5 { p.ln() } else { (1.0 - p).ln() });
    let expected = mean(terms.collect());
    let found = loss(
        &classifier(HeadTask::MultiLabel),
        &HeadTargets::Values(wanted.clone()),
    );
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");

    let terms = pairs(outputs(HeadTask::Regression));
    let terms = terms.iter().map(|(x, y)| (x - f64::from(*y)).powi(2));
    let expected = mean(terms.collect());
    let found = loss(
        &classifier(HeadTask::Regression),
        &HeadTargets::Values(wanted.clone()),
    );
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let new = |task, names: &[&str]| SequenceClassifier::new(tiny(), task, labels(names), 0);
    let said = |result: Result<SequenceClassifier, ModelError>| result.unwrap_err().to_string();
    assert!(said(new(HeadTask::Classification, &["one"])).contains("at least 2"));
    assert!(said(new(HeadTask::Regression, &[])).contains("at least 1"));
    assert!(said(new(HeadTask::MultiLabel, &["x", "y", "x"])).contains("`x` twice"));
    let n_layers = tiny().config().n_layers;
    let part = TrainedPart::LastLayers(n_layers + 1);
    assert!(said(classifier(HeadTask::MultiLabel).train_part(part)).contains("at most"));

    let model = classifier(HeadTask::Classification);
    let documents = [vec![1, 2]];
    for targets in [
        HeadTargets::Classes(vec![3]),
        HeadTargets::Classes(vec![0, 1]),
        HeadTargets::Values(vec![vec![0.0; 3]]),
    ] {
        assert!(model.loss(&documents, &targets).is_err(), "{targets:?}");
    }
    let regression = classifier(HeadTask::Regression);
    let short = HeadTargets::Values(vec![vec![0.0; 2]]);
    assert!(regression.loss(&documents, &short).is_err());
    assert!(model.logits(&[vec![]]).is_err());
    assert!(model.logits(&[vec![1; 100_000]]).is_err());
}

#[test]
fn the_config_names_the_head_for_transformers() {
    let decoder = json!({"architectures": ["Qwen2ForCausalLM"], "pad_token_id": null});
    let config = classifier(HeadTask::MultiLabel).config_to_hf(&decoder);
    assert_eq!(config["architectures"][0], "Qwen2ForSequenceClassification");
    assert_eq!(config["id2label"], json!({"0": "a", "1": "b", "2": "c"}));
    assert_eq!(config["label2id"]["c"], 2);
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert!(config["pad_token_id"].is_u64());
}

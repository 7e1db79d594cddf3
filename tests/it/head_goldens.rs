//! New heads against transformers and PEFT, on a tiny model (`golden/heads/make.py` made the figures).

use std::path::PathBuf;

use burn::module::Module;
use firebox_checkpoint::{Checkpoint, read_adapter};
use firebox_data::Order;
use firebox_model::{HeadTargets, HeadTask, Llama, SequenceClassifier, TrainedPart};
use firebox_tensor::burn;
use firebox_train::{
    AdamWConfig, LabelledBatch, LabelledBatches, OptimizerConfig, Schedule, TrainConfig, train,
};
use serde_json::Value;

use crate::fixtures::{assert_close, floats};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/heads")
}

fn golden() -> Value {
    let text = std::fs::read_to_string(folder().join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint::open(&folder().join("model")).unwrap()
}

fn model() -> SequenceClassifier {
    SequenceClassifier::load(&checkpoint(), &Default::default()).unwrap()
}

fn with_adapter() -> SequenceClassifier {
    let decoder = Llama::load(&checkpoint(), &Default::default()).unwrap();
    let adapter = read_adapter(&folder().join("lora")).unwrap();
    let labels = model().labels().to_vec();
    SequenceClassifier::load_adapter(decoder, &adapter, HeadTask::Classification, labels).unwrap()
}

fn documents(golden: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(golden["documents"].clone()).unwrap()
}

fn logits(model: &SequenceClassifier, golden: &Value) -> Vec<f64> {
    let logits = model.logits(&documents(golden)).unwrap().inner();
    logits.into_data().iter::<f64>().collect()
}

fn flat(rows: &Value) -> Vec<f64> {
    rows.as_array().unwrap().iter().flat_map(floats).collect()
}

#[test]
fn logits_of_documents_side_by_side_are_those_of_padded_rows() {
    let golden = golden();
    assert_eq!(model().labels(), ["liver", "kidney", "brain"]);
    assert_close(
        "logits",
        &logits(&model(), &golden),
        &flat(&golden["logits"]),
        1e-5,
    );
    let expected = flat(&golden["lora_logits"]);
    assert_close("lora", &logits(&with_adapter(), &golden), &expected, 1e-5);
    let merged = with_adapter().into_merged().unwrap();
    assert_close("merged", &logits(&merged, &golden), &expected, 5e-5);
}

#[test]
fn losses_of_every_task_are_those_of_transformers() {
    let golden = golden();
    let classes = serde_json::from_value(golden["classes"].clone()).unwrap();
    let values: Vec<Vec<f32>> = serde_json::from_value(golden["values"].clone()).unwrap();
    let tasks = [
        (
            "classification",
            HeadTask::Classification,
            HeadTargets::Classes(classes),
        ),
        (
            "multi_label",
            HeadTask::MultiLabel,
            HeadTargets::Values(values.clone()),
        ),
        (
            "regression",
            HeadTask::Regression,
            HeadTargets::Values(values),
        ),
    ];
    for (name, task, targets) in tasks {
        let loaded = model();
        let head = loaded.score.clone();
        let mut model =
            SequenceClassifier::new(loaded.decoder.clone(), task, loaded.labels().to_vec(), 0)
                .unwrap();
        model.score = head;
        let loss = model.loss(&documents(&golden), &targets).unwrap();
        let expected = golden["loss"][name].as_f64().unwrap();
        assert_close(name, &[loss.mean], &[expected], 1e-5);
    }
}

#[test]
fn six_steps_of_every_part_follow_torch() {
    let golden = golden();
    let part = |part| model().train_part(part).unwrap();
    let runs = [
        ("head", part(TrainedPart::Head)),
        ("last_layer", part(TrainedPart::LastLayers(1))),
        ("all", part(TrainedPart::All)),
        ("lora", with_adapter()),
    ];
    for (name, model) in runs {
        let classes = serde_json::from_value(golden["classes"].clone()).unwrap();
        let all = LabelledBatch {
            documents: documents(&golden),
            targets: HeadTargets::Classes(classes),
        };
        let mut batches = LabelledBatches::new(all, 4, Order::InOrder).unwrap();
        let config = TrainConfig {
            optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
            ..TrainConfig::new(6, Schedule::constant(3e-3))
        };
        let (_, summary) = train(model.train(), &mut batches, &config, &mut ()).unwrap();
        let expected = &golden["parts"][name];
        assert_eq!(
            summary.n_trainable_params as u64,
            expected["n_trained"].as_u64().unwrap(),
            "{name}"
        );
        let found: Vec<f64> = summary.steps.iter().map(|step| step.loss).collect();
        assert_close(name, &found, &floats(&expected["losses"]), 2e-4);
    }
}

#[test]
fn a_written_adapter_has_the_head() {
    let read = read_adapter(&folder().join("lora")).unwrap();
    let written = with_adapter().adapter("base").unwrap();
    assert!(written.tensors == read.tensors);
    assert_eq!(written.config.task_type.as_deref(), Some("SEQ_CLS"));
    let decoder = Llama::load(&checkpoint(), &Default::default()).unwrap();
    let labels = ["one", "two"].map(String::from).to_vec();
    let error = SequenceClassifier::load_adapter(decoder, &read, HeadTask::Classification, labels)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("[3, 32]") && error.contains("[2, 32]"),
        "{error}"
    );
}

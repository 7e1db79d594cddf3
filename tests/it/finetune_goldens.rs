//! Full fine-tuning with masked labels against torch: SGD and AdamW.

use burn::module::Module;
use firebox_data::{Batch, Example, IGNORE_LABEL};
use firebox_tensor::burn;
use firebox_train::{OptimizerConfig, Schedule, SgdConfig, TrainConfig, train};
use serde_json::Value;

use crate::fixtures::{assert_close, floats, golden, ids, load};

/// The trajectory's batches with the first 16 labels of each row masked.
fn batches(golden: &Value) -> Vec<Batch> {
    let masked = |row: &Value| {
        let mut example = Example::from_ids(ids(row));
        example.labels[..16].fill(IGNORE_LABEL);
        example
    };
    let batches = golden["batches"].as_array().unwrap().iter();
    batches
        .map(|batch| {
            Batch::pad(
                &batch
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(masked)
                    .collect::<Vec<_>>(),
                0,
            )
        })
        .collect()
}

#[track_caller]
fn check(name: &str, config: &TrainConfig) {
    let expected = &golden("lora/full_finetune.json")["runs"][name];
    let mut batches = batches(&golden("lora/trajectory.json"));
    let (_, summary) = train(load().train(), &mut batches, config, &mut ()).unwrap();
    assert_eq!(summary.n_trainable_params, 134_515_008);
    let found: Vec<f64> = summary.steps.iter().map(|step| step.loss).collect();
    // As for LoRA: sums in another order, amplified by the steps.
    assert_close("loss", &found, &floats(&expected["loss_per_step"]), 5e-4);
    for (step, expected) in summary
        .steps
        .iter()
        .zip(floats(&expected["grad_norm_per_step"]))
    {
        assert_close("grad norm", &[step.grad_norm], &[expected], 0.01 * expected);
    }
}

#[test]
fn five_steps_of_sgd_follow_torch() {
    let optimizer = OptimizerConfig::Sgd(SgdConfig::default());
    check(
        "sgd_lr0.01",
        &TrainConfig {
            optimizer,
            ..TrainConfig::new(5, Schedule::constant(0.01))
        },
    );
}

#[test]
fn five_steps_of_adamw_follow_torch() {
    check(
        "adamw_lr1e-4_wd0.01",
        &TrainConfig::new(5, Schedule::constant(1e-4)),
    );
}

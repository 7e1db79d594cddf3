//! Every kind of adapter against PEFT, on a tiny model (`golden/adapters/make.py` made the figures).

use std::path::PathBuf;

use burn::module::Module;
use firebox_checkpoint::{Adapter, Checkpoint, read_adapter, write_adapter};
use firebox_data::{Batch, Example};
use firebox_model::{Llama, LoraConfig, LoraInit, combine_adapters};
use firebox_tensor::burn;
use firebox_train::{AdamWConfig, OptimizerConfig, Schedule, TrainConfig, train};
use serde_json::Value;

use crate::fixtures::{assert_close, floats};

const KINDS: [&str; 4] = ["lora", "rslora", "dora", "whole"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/adapters")
}

fn golden() -> Value {
    let text = std::fs::read_to_string(folder().join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn base() -> Llama {
    let checkpoint = Checkpoint::open(&folder().join("base")).unwrap();
    Llama::load(&checkpoint, &Default::default()).unwrap()
}

fn adapter(kind: &str) -> Adapter {
    read_adapter(&folder().join(kind)).unwrap()
}

fn rows(golden: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(golden["ids"].clone()).unwrap()
}

fn logits(model: &Llama, row: &[u32]) -> Vec<f64> {
    let logits = model.forward(model.ids_tensor(&[row]).unwrap());
    logits.into_data().iter::<f64>().collect()
}

#[test]
fn logits_are_pefts() {
    let golden = golden();
    let row = &rows(&golden)[0];
    for kind in KINDS {
        let model = base().load_adapter(&adapter(kind)).unwrap();
        let expected = floats(&golden["kinds"][kind]["logits"]);
        // Two layers in f32, and the file has six decimals.
        assert_close(kind, &logits(&model, row), &expected, 2e-5);
        let merged = model.into_merged().unwrap();
        assert_close(kind, &logits(&merged, row), &expected, 5e-5);
    }
}

#[test]
fn pissa_begins_trains_and_is_written_as_in_peft() {
    let golden = golden();
    let (row, expected) = (&rows(&golden)[0], &golden["pissa"]);
    let config = LoraConfig {
        init: LoraInit::Pissa,
        ..LoraConfig::new(4, 6.0, ["q_proj", "v_proj", "down_proj"])
    };
    let model = base().attach_lora(&config, 0).unwrap();
    // The whole is unchanged; a part of it has moved into the factors.
    assert_close("whole", &logits(&model, row), &logits(&base(), row), 2e-5);
    let layer = &model.layers[0].self_attn.q_proj;
    let lora = layer.lora.as_ref().unwrap();
    let part = lora
        .lora_b
        .val()
        .matmul(lora.lora_a.val())
        .mul_scalar(lora.scaling);
    let part: Vec<f64> = part.into_data().iter::<f64>().collect();
    assert_close("part", &part, &floats(&expected["part"]), 1e-5);

    let examples: Vec<Example> = rows(&golden).into_iter().map(Example::from_ids).collect();
    let mut batches = vec![Batch::pad(&examples, 0)];
    let steps = TrainConfig {
        optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
        ..TrainConfig::new(6, Schedule::constant(1e-2))
    };
    let (trained, summary) = train(model.train(), &mut batches, &steps, &mut ()).unwrap();
    let found: Vec<f64> = summary.steps.iter().map(|step| step.loss).collect();
    assert_close("losses", &found, &floats(&expected["losses"]), 2e-4);

    // Both files are ordinary adapters of twice the rank beside the whole base.
    let after = floats(&expected["logits"]);
    let of_peft = base().load_adapter(&adapter("pissa")).unwrap();
    assert_close("PEFT's file", &logits(&of_peft, row), &after, 5e-5);
    let written = trained.valid().adapter("base").unwrap();
    assert_eq!((written.config.r, written.config.lora_alpha), (8, 12.0));
    let of_ours = base().load_adapter(&written).unwrap();
    // Six steps of AdamW apart.
    assert_close("our file", &logits(&of_ours, row), &after, 2e-2);
    assert_close(
        "our file",
        &logits(&of_ours, row),
        &logits(&trained.valid(), row),
        5e-5,
    );
    let merged = trained.valid().into_merged().unwrap();
    assert_close(
        "merged",
        &logits(&merged, row),
        &logits(&trained.valid(), row),
        5e-5,
    );

    let wide = LoraConfig { rank: 33, ..config };
    let error = base().attach_lora(&wide, 0).unwrap_err().to_string();
    assert!(error.contains("at most 32"), "{error}");
}

#[test]
fn two_adapters_on_one_base_are_pefts_weighted_one() {
    let golden = golden();
    let row = &rows(&golden)[0];
    let weights = floats(&golden["weighted"]["weights"]);
    let parts = [
        (adapter("lora"), weights[0]),
        (adapter("rslora"), weights[1]),
    ];
    let both = combine_adapters(&parts).unwrap();
    assert_eq!(both.config.r, 8);
    let base = base();
    let model = base.clone().load_adapter(&both).unwrap();
    let expected = floats(&golden["weighted"]["logits"]);
    assert_close("side path", &logits(&model, row), &expected, 2e-5);
    assert_close(
        "merged",
        &logits(&model.into_merged().unwrap(), row),
        &expected,
        5e-5,
    );

    // Beside one base, adapters are exchanged without loading it again.
    for kind in ["lora", "rslora", "lora"] {
        let model = base.clone().load_adapter(&adapter(kind)).unwrap();
        let expected = floats(&golden["kinds"][kind]["logits"]);
        assert_close(kind, &logits(&model, row), &expected, 2e-5);
    }

    // A file and back; and what does not add is refused.
    let dir = tempfile::tempdir().unwrap();
    write_adapter(&dir.path().join("both"), &both).unwrap();
    assert!(read_adapter(&dir.path().join("both")).unwrap().tensors == both.tensors);
    for kind in ["dora", "whole"] {
        let error = combine_adapters(&[(adapter("lora"), 1.0), (adapter(kind), 1.0)]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("DoRA or modules"), "{error}");
    }
    assert!(combine_adapters(&[]).is_err());
    assert!(combine_adapters(&[(adapter("lora"), f64::NAN)]).is_err());
}

#[test]
fn six_steps_follow_pefts_losses() {
    let golden = golden();
    let examples: Vec<Example> = rows(&golden).into_iter().map(Example::from_ids).collect();
    for kind in KINDS {
        let model = base().load_adapter(&adapter(kind)).unwrap().train();
        let mut batches = vec![Batch::pad(&examples, 0)];
        let config = TrainConfig {
            optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
            ..TrainConfig::new(6, Schedule::constant(1e-2))
        };
        let (_, summary) = train(model, &mut batches, &config, &mut ()).unwrap();
        let expected = &golden["kinds"][kind];
        assert_eq!(
            summary.n_trainable_params as u64,
            expected["n_trained"].as_u64().unwrap()
        );
        let found: Vec<f64> = summary.steps.iter().map(|step| step.loss).collect();
        // AdamW divides by the gradient's size: rounding of small gradients grows over the steps.
        assert_close(kind, &found, &floats(&expected["losses"]), 2e-4);
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let read = adapter(kind);
        let model = base().load_adapter(&read).unwrap();
        let out = dir.path().join(kind);
        write_adapter(&out, &model.adapter("base").unwrap()).unwrap();
        let again = read_adapter(&out).unwrap();
        let names = |adapter: &Adapter| adapter.tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&again), names(&read), "{kind}");
        assert!(again.tensors == read.tensors, "{kind}");
        let of = |adapter: &Adapter| {
            let config = &adapter.config;
            let whole = config.modules_to_save.clone();
            (
                config.r,
                config.lora_alpha,
                config.use_dora,
                config.use_rslora,
                whole,
            )
        };
        assert_eq!(of(&again), of(&read), "{kind}");
    }
}

#[test]
fn a_fresh_adapter_of_any_kind_changes_nothing_and_learns() {
    let golden = golden();
    let row = &rows(&golden)[0];
    let examples: Vec<Example> = rows(&golden).into_iter().map(Example::from_ids).collect();
    let plain = LoraConfig::new(4, 8.0, ["*_proj"]);
    let configs = [
        LoraConfig {
            dora: true,
            dropout: 0.1,
            ..plain.clone()
        },
        LoraConfig {
            rank_stabilized: true,
            dropout: 0.3,
            ..plain.clone()
        },
        LoraConfig {
            modules_to_save: vec!["lm_head".into(), "norm".into()],
            ..plain
        },
    ];
    for config in configs {
        let model = base().attach_lora(&config, 5).unwrap();
        assert_close("fresh", &logits(&model, row), &logits(&base(), row), 1e-5);
        let mut batches = vec![Batch::pad(&examples, 0)];
        let steps = TrainConfig::new(30, Schedule::constant(1e-2));
        let run = |model: Llama| {
            train(model.train(), &mut batches.clone(), &steps, &mut ())
                .unwrap()
                .1
        };
        let (first, second) = (run(model.clone()), run(model));
        assert!(
            first.last_loss() < first.first_loss().map(|loss| 0.8 * loss),
            "{config:?}"
        );
        // Dropout goes by seed, layer and batch.
        let losses = |summary: &firebox_train::TrainSummary| -> Vec<u64> {
            summary
                .steps
                .iter()
                .map(|step| step.loss.to_bits())
                .collect()
        };
        assert_eq!(losses(&first), losses(&second));
        batches.truncate(1);
    }
}

#[test]
fn a_whole_norm_is_written_under_a_name_that_only_it_has() {
    // PEFT goes by the end of a name: `norm` would mean every norm of every layer.
    let config = LoraConfig {
        modules_to_save: vec!["norm".into()],
        ..LoraConfig::new(4, 8.0, ["q_proj"])
    };
    let model = base().attach_lora(&config, 0).unwrap();
    let written = model.adapter("base").unwrap();
    let expected = Some(vec!["model.norm".to_owned()]);
    assert_eq!(written.config.modules_to_save, expected);
    let read = base().load_adapter(&written).unwrap();
    assert!(read.adapter("base").unwrap().tensors == written.tensors);
}

#[test]
fn modules_that_are_not_there_are_named() {
    let config = LoraConfig {
        modules_to_save: vec!["classifier".into()],
        ..LoraConfig::new(4, 8.0, ["q_proj"])
    };
    let error = base().attach_lora(&config, 0).unwrap_err().to_string();
    assert!(
        error.contains("classifier") && error.contains("lm_head"),
        "{error}"
    );
}

use std::collections::HashMap;

use burn::tensor::TensorData;

use super::*;
use crate::llama::tests::{tiny, tiny_config};
use crate::loss::IGNORE;
use crate::{HeadTargets, HeadTask, LoraConfig, SequenceClassifier, TrainedPart};

fn batch() -> (Vec<Vec<u32>>, Vec<Vec<i64>>) {
    let row = |start: u32| (0..40).map(|i| (start + i * 7) % 61).collect::<Vec<u32>>();
    let ids = vec![row(1), row(5)];
    let mut labels: Vec<Vec<i64>> = ids
        .iter()
        .map(|row| row.iter().map(|id| i64::from(*id)).collect())
        .collect();
    labels[1][..20].fill(IGNORE);
    (ids, labels)
}

/// Every gradient of a module, by place.
fn gradients<M: Module>(module: &M, surrogate: Tensor<1>) -> HashMap<usize, TensorData> {
    struct Collector {
        gradients: Gradients,
        found: HashMap<usize, TensorData>,
        place: usize,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(&mut self.gradients) {
                self.found.insert(self.place, gradient.into_data());
            }
            self.place += 1;
        }
    }
    let mut collector = Collector {
        gradients: surrogate.backward(),
        found: HashMap::new(),
        place: 0,
    };
    module.visit(&mut collector);
    collector.found
}

#[track_caller]
fn same_loss_and_gradients(model: Llama) {
    let model = model.train();
    let (ids, labels) = batch();
    let cu_seqlens = [0, 13, 40, 47, 80];
    for packed in [false, true] {
        let of = |model: &Llama| {
            let loss = match packed {
                false => model.loss(&ids, &labels).unwrap(),
                true => model.loss_packed(&ids, &labels, &cu_seqlens).unwrap(),
            };
            (loss.mean.to_bits(), gradients(model, loss.surrogate))
        };
        let (loss, expected) = of(&model);
        let by_layer = model.clone().with_activation_checkpointing(true);
        let (found_loss, found) = of(&by_layer);
        assert_eq!(found_loss, loss);
        assert!(!expected.is_empty());
        assert!(found == expected, "{} of {}", found.len(), expected.len());
    }
}

#[test]
fn full_training_has_the_same_bits() {
    same_loss_and_gradients(tiny().set_require_grad(true));
    let mut untied = tiny_config();
    untied.tie_embeddings = false;
    let device = burn::tensor::Device::flex();
    same_loss_and_gradients(untied.init(3, &device).set_require_grad(true));
}

#[test]
fn adapters_have_the_same_bits_with_dropout_and_magnitudes() {
    let plain = LoraConfig::new(3, 6.0, ["q_proj", "down_proj"]);
    let kinds = [
        LoraConfig {
            dropout: 0.3,
            ..plain.clone()
        },
        LoraConfig {
            dora: true,
            modules_to_save: vec!["norm".into(), "embed_tokens".into()],
            ..plain.clone()
        },
        // The first layer has nothing to train.
        LoraConfig {
            targets: vec!["model.layers.1.mlp.*".into()],
            ..plain
        },
    ];
    for config in kinds {
        let mut model = tiny().attach_lora(&config, 3).unwrap();
        for (_, linear) in model.linears_mut() {
            if let Some(lora) = &mut linear.lora {
                lora.lora_b = lora.lora_b.clone().map(|b| b.add_scalar(0.1));
            }
        }
        same_loss_and_gradients(model);
    }
}

#[test]
fn heads_have_the_same_bits() {
    let documents = [vec![1, 5, 9, 33], vec![2], vec![7, 7, 3]];
    let targets = HeadTargets::Classes(vec![0, 2, 1]);
    for part in [
        TrainedPart::Head,
        TrainedPart::LastLayers(1),
        TrainedPart::All,
    ] {
        let labels = ["a", "b", "c"].map(String::from).to_vec();
        let model = SequenceClassifier::new(tiny(), HeadTask::Classification, labels, 5).unwrap();
        let model = model.train_part(part).unwrap().train();
        let of = |model: &SequenceClassifier| {
            let loss = model.loss(&documents, &targets).unwrap();
            (loss.mean.to_bits(), gradients(model, loss.surrogate))
        };
        let mut by_layer = model.clone();
        by_layer.decoder = by_layer.decoder.with_activation_checkpointing(true);
        assert!(of(&model) == of(&by_layer), "{part:?}");
    }
}

#[test]
fn without_gradients_it_is_the_same_loss() {
    let (ids, labels) = batch();
    let model = tiny().with_activation_checkpointing(true);
    let loss = model.loss(&ids, &labels).unwrap();
    assert_eq!(loss.mean, tiny().loss(&ids, &labels).unwrap().mean);
}

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use firebox_checkpoint::{Checkpoint, Dtype};

use crate::llama::tests::{saved, tiny};
use crate::{Llama, LoraConfig, LoraInit, Weight};

fn n_half(model: &Llama) -> usize {
    let linears = model.linears().into_iter();
    linears
        .filter(|(_, linear)| matches!(linear.weight, Weight::Half(_)))
        .count()
}

fn both(checkpoint: &Checkpoint) -> [Llama; 2] {
    let device = Device::flex().autodiff();
    let dense = Llama::load(checkpoint, &device).unwrap();
    let frozen = Llama::load_frozen(checkpoint, &device).unwrap();
    assert_eq!(n_half(&dense), 0);
    [dense, frozen]
}

/// With an adapter that changes something.
fn adapted(model: Llama, config: &LoraConfig) -> Llama {
    let mut model = model.attach_lora(config, 5).unwrap();
    for (_, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.lora_b = lora.lora_b.clone().map(|b| b.add_scalar(0.1));
        }
    }
    model
}

fn logits(model: &Llama, n: u32) -> TensorData {
    let ids: Vec<u32> = (1..=n).collect();
    model
        .forward(model.ids_tensor(&[ids]).unwrap())
        .inner()
        .into_data()
}

fn adapters() -> Vec<LoraConfig> {
    let plain = LoraConfig::new(3, 6.0, ["q_proj", "down_proj"]);
    let with = |change: fn(&mut LoraConfig)| {
        let mut config = plain.clone();
        change(&mut config);
        config
    };
    vec![
        plain.clone(),
        with(|config| config.dora = true),
        with(|config| config.dropout = 0.3),
        with(|config| config.init = LoraInit::Pissa),
    ]
}

/// The loss, and the gradients of all factors.
fn loss(model: &Llama) -> (f64, Vec<TensorData>) {
    let ids: Vec<u32> = (0..20).map(|i| (i * 17 + 3) % 61).collect();
    let labels = ids.iter().map(|id| i64::from(*id)).collect();
    let loss = model.loss(&[ids], &[labels]).unwrap();
    let gradients = loss.surrogate.backward();
    let factors = model
        .linears()
        .into_iter()
        .filter_map(|(_, l)| l.lora.as_ref());
    let of = |x: &burn::module::Param<burn::tensor::Tensor<2>>| {
        x.val().grad(&gradients).unwrap().into_data()
    };
    let found = factors.flat_map(|lora| [of(&lora.lora_a), of(&lora.lora_b)]);
    (loss.mean, found.collect())
}

#[test]
fn weights_of_16_bits_stay_so_and_train_adapters_bit_for_bit() {
    for dtype in [Dtype::BF16, Dtype::F16] {
        let (_dir, checkpoint) = saved(&tiny(), dtype);
        for config in adapters() {
            let [dense, frozen] = both(&checkpoint).map(|model| adapted(model, &config).train());
            // PiSSA changes the weights that it adapts: two of seven in two layers.
            let n_changed = if config.init == LoraInit::Pissa { 4 } else { 0 };
            assert_eq!(n_half(&frozen), 14 - n_changed);
            let bytes = |model: &Llama| -> usize {
                model
                    .linears()
                    .iter()
                    .map(|(_, l)| l.weight.n_bytes())
                    .sum()
            };
            if n_changed == 0 {
                assert_eq!(bytes(&dense), 2 * bytes(&frozen));
            }
            assert_eq!(loss(&frozen), loss(&dense), "{dtype:?} {config:?}");
            // Few rows and many.
            for n in [1, 8, 9, 30] {
                let [dense, frozen] = [&dense, &frozen].map(|model| logits(&model.valid(), n));
                assert_eq!(frozen, dense, "{dtype:?} {config:?} {n}");
            }
        }
    }
}

#[test]
fn a_weight_of_16_bits_is_merged_into_and_comes_back() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::BF16);
    let config = LoraConfig::new(3, 6.0, ["q_proj", "up_proj"]);
    let [dense, mut frozen] = both(&checkpoint).map(|model| adapted(model, &config));
    let before = logits(&frozen, 12);
    frozen.merge().unwrap();
    let merged = logits(&dense.into_merged().unwrap(), 12);
    assert_eq!(logits(&frozen, 12), merged);
    frozen.unmerge();
    assert_eq!(n_half(&frozen), 14);
    assert_eq!(logits(&frozen, 12), before);
}

#[test]
fn weights_of_32_bits_stay_as_they_are() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let [dense, frozen] = both(&checkpoint);
    assert_eq!(n_half(&frozen), 0);
    assert_eq!(logits(&frozen, 12), logits(&dense, 12));
}

#[test]
fn a_frozen_model_is_not_dense() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::BF16);
    let [dense, frozen] = both(&checkpoint);
    assert!(dense.is_dense() && !frozen.is_dense());
    assert_eq!(
        frozen.num_params() + frozen.n_fixed_weights(),
        dense.num_params()
    );
}

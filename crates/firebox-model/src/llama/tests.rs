use burn::tensor::{Device, Tensor};
use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};

use crate::kv_cache::KvCache;
use crate::{Llama, LlamaConfig, NamedWeight};

pub(crate) fn tiny_config() -> LlamaConfig {
    LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: 600,
        eos_ids: vec![2],
        bos_id: Some(1),
        ..LlamaConfig::new(61, 24, 40, 2, 4)
    }
}

/// Weights ten times larger than a fresh model's, so that tokens differ in their logits.
pub(crate) fn tiny() -> Llama {
    let mut model = tiny_config().init(7, &Device::flex());
    model.embed_tokens = model.embed_tokens.map(|w| w.mul_scalar(10.0));
    for (_, linear) in model.linears_mut() {
        if let crate::Weight::Dense(weight) = &mut linear.weight {
            *weight = weight.clone().map(|w| w.mul_scalar(10.0));
        }
    }
    model
}

/// The model as a checkpoint of `dtype`.
pub(crate) fn saved(model: &Llama, dtype: Dtype) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    let mut writer = HfWriter::create(&path).unwrap();
    writer.set_config(model.config().to_hf());
    NamedWeight::write_all(&model.named_weights(), writer, dtype).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (dir, checkpoint)
}

fn max_difference(a: Tensor<3>, b: Tensor<3>) -> f32 {
    (a - b).abs().max().into_scalar()
}

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 17 + 3) % 61).collect()
}

#[test]
fn decode_with_cache_matches_full_prefill() {
    check_cached_decode(&tiny());
}

#[test]
fn decode_with_cache_matches_full_prefill_through_a_window() {
    let mut model = tiny();
    model.config.sliding_window = Some(70);
    check_cached_decode(&model);
    let whole = tiny();
    let ids = ids(80);
    let hidden = |model: &Llama| model.hidden(model.ids_tensor(&[&ids]).unwrap());
    let (windowed, whole) = (hidden(&model), hidden(&whole));
    let first = |x: &Tensor<3>, n| x.clone().narrow(1, 0, n);
    assert!(max_difference(first(&windowed, 70), first(&whole, 70)) == 0.0);
    assert!(max_difference(windowed, whole) > 1e-3);
}

#[track_caller]
fn check_cached_decode(model: &Llama) {
    let ids = ids(300); // past the cache's first capacity
    let full = model.hidden(model.ids_tensor(&[&ids]).unwrap());
    let mut cache = KvCache::new(model.config());
    let mut parts = Vec::new();
    for chunk in [
        &ids[..200],
        &ids[200..201],
        &ids[201..290],
        &ids[290..299],
        &ids[299..],
    ] {
        parts.push(model.hidden_cached(model.ids_tensor(&[chunk]).unwrap(), &mut cache));
    }
    assert_eq!(cache.len(), 300);
    // Sums over up to 300 keys in another order.
    assert!(max_difference(full, Tensor::cat(parts, 1)) < 1e-4);
}

#[test]
fn a_position_ignores_the_tokens_after_it() {
    let model = tiny();
    let (short, mut long) = (ids(8), ids(8));
    long.extend([1, 2, 3]);
    let short = model.forward(model.ids_tensor(&[short]).unwrap());
    let long = model
        .forward(model.ids_tensor(&[long]).unwrap())
        .narrow(1, 0, 8);
    assert!(max_difference(short, long) < 1e-4);
}

#[test]
fn rows_of_a_batch_do_not_see_each_other() {
    let model = tiny();
    let (a, b) = (ids(9), ids(18)[9..].to_vec());
    let together = model
        .forward(model.ids_tensor(&[a.clone(), b]).unwrap())
        .narrow(0, 0, 1);
    let alone = model.forward(model.ids_tensor(&[a]).unwrap());
    assert!(max_difference(together, alone) < 1e-4);
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let error = tiny().ids_tensor(&[[3, 61]]).unwrap_err().to_string();
    assert!(
        error.starts_with("token id 61 is outside the model's vocabulary of 61"),
        "{error}"
    );
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let (a, b) = (
        tiny_config().init(1, &Device::flex()),
        tiny_config().init(1, &Device::flex()),
    );
    assert_eq!(
        a.embed_tokens.val().into_data(),
        b.embed_tokens.val().into_data()
    );
    let n: usize = burn::module::Module::num_params(&a);
    assert_eq!(n, tiny_config().n_params());
}

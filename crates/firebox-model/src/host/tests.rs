use firebox_checkpoint::{Adapter, Dtype};
use firebox_tensor::packed::PackedFormat;

use super::*;
use crate::llama::tests::{saved, tiny};
use crate::{HostWeights, Llama, LoraConfig};

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 17 + 3) % 61).collect()
}

fn hidden(model: &HostLlama, chunks: &[&[u32]]) -> Vec<f32> {
    let mut cache = model.new_cache();
    let mut rows = Vec::new();
    for chunk in chunks {
        model.forward(chunk, &mut cache).unwrap();
        rows.extend_from_slice(&cache.blocks.work.x);
    }
    rows
}

#[test]
fn it_computes_what_the_decoder_on_burn_computes() {
    let mut windowed = tiny();
    windowed.config.sliding_window = Some(50);
    for model in [tiny(), windowed] {
        check_against_burn(&model);
    }
}

fn check_against_burn(model: &Llama) {
    let ids = ids(200);
    let expected = model.token_nll(&ids).unwrap();
    for (dtype, weights) in [
        (Dtype::F32, HostWeights::Stored),
        (Dtype::BF16, HostWeights::F32),
        (Dtype::BF16, HostWeights::Stored),
    ] {
        let (_dir, checkpoint) = saved(model, dtype);
        let host = HostLlama::load(&checkpoint, weights).unwrap();
        let on_burn = Llama::load(&checkpoint, &burn::tensor::Device::flex()).unwrap();
        let expected = match dtype {
            Dtype::F32 => expected.clone(),
            _ => on_burn.token_nll(&ids).unwrap(),
        };
        let found = host.token_nll(&ids).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            // Sums in another order, over two layers.
            assert!(
                (found - expected).abs() < 1e-4,
                "{dtype} {weights}: {found} and {expected}"
            );
        }
    }
}

#[test]
fn any_chunks_give_the_same_bits() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let model = HostLlama::load(&checkpoint, HostWeights::Stored).unwrap();
    let ids = ids(150);
    let whole = hidden(&model, &[&ids]);
    assert_eq!(
        hidden(
            &model,
            &[&ids[..70], &ids[70..71], &ids[71..149], &ids[149..]]
        ),
        whole
    );
    let one_by_one: Vec<&[u32]> = ids.chunks(1).collect();
    assert_eq!(hidden(&model, &one_by_one), whole);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    assert_eq!(pool.install(|| hidden(&model, &[&ids])), whole);
}

#[test]
fn smaller_caches_score_nearly_the_same_in_any_chunks() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let ids = ids(150);
    let load = |format| {
        let model = HostLlama::load(&checkpoint, HostWeights::Stored).unwrap();
        model.with_kv_format(format)
    };
    let mean_nll = |model: &HostLlama| {
        let nll = model.token_nll(&ids).unwrap();
        nll.iter().sum::<f32>() / nll.len() as f32
    };
    let exact = load(KvFormat::F32);
    let bytes = |model: &HostLlama| {
        let mut cache = model.new_cache();
        model.forward(&ids, &mut cache).unwrap();
        cache.n_bytes()
    };
    // The scales of heads as narrow as these weigh something, less where panels are wider.
    // A key is off by 2^-11, by 1/254 of its largest number, or by 1/30 of their range.
    for (format, smaller, most) in [
        (KvFormat::F16, 2.0, 5e-3),
        (KvFormat::Int8, 2.5, 5e-3),
        (KvFormat::Int4, 4.0, 5e-2),
    ] {
        let model = load(format);
        let change = (mean_nll(&model) - mean_nll(&exact)).abs();
        assert!(change > 0.0 && change < most, "{format}: {change}");
        assert!(
            bytes(&model) as f64 * smaller <= bytes(&exact) as f64,
            "{format}"
        );
        let whole = hidden(&model, &[&ids]);
        assert_eq!(
            hidden(&model, &[&ids[..70], &ids[70..71], &ids[71..]]),
            whole,
            "{format}"
        );
        assert_ne!(hidden(&exact, &[&ids]), whole, "{format}");
    }
}

#[test]
fn packed_weights_stay_packed() {
    let config = crate::LlamaConfig {
        n_kv_heads: 2,
        ..crate::LlamaConfig::new(64, 256, 512, 1, 4)
    };
    let (_dir, checkpoint) = saved(&config.init(3, &burn::tensor::Device::flex()), Dtype::F32);
    let bytes = |weights| HostLlama::load(&checkpoint, weights).unwrap().n_bytes();
    let full = bytes(HostWeights::F32);
    assert_eq!(bytes(HostWeights::Bf16), full / 2);
    for format in PackedFormat::ALL {
        let packed = bytes(HostWeights::Packed(format));
        assert!(packed <= full * 2 / 5, "{format}: {packed} of {full}");
    }
}

#[test]
fn rounded_inputs_change_little_and_the_same_in_any_chunks() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let load = |weights| HostLlama::load(&checkpoint, weights).unwrap();
    let exact = load(HostWeights::Packed(PackedFormat::Int8Rowwise));
    let rounded = load(HostWeights::Int8Dot);
    let ids = ids(40);
    let (expected, found) = (hidden(&exact, &[&ids]), hidden(&rounded, &[&ids]));
    assert_eq!(hidden(&rounded, &[&ids[..7], &ids[7..]]), found);
    let square = |x: &f32| x * x;
    let size: f32 = expected.iter().map(square).sum();
    let pairs = expected.iter().zip(&found);
    let change: f32 = pairs.map(|(a, b)| square(&(a - b))).sum();
    assert!(change > 0.0 && change < 1e-3 * size, "{change} of {size}");
}

#[test]
fn ids_and_lengths_out_of_range_are_errors() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let model = HostLlama::load(&checkpoint, HostWeights::Stored).unwrap();
    let mut cache = model.new_cache();
    let error = model.forward(&[3, 61], &mut cache).unwrap_err();
    assert!(
        matches!(error, ModelError::TokenOutOfRange { id: 61, .. }),
        "{error}"
    );
    let error = model.forward(&ids(601), &mut cache).unwrap_err();
    assert!(matches!(error, ModelError::PromptTooLong { .. }), "{error}");
    assert!(model.token_nll(&[3]).is_err() && model.token_nll(&[3, 61]).is_err());
    assert!(cache.is_empty());
}

#[test]
fn names_of_forms_are_read_back() {
    for name in HostWeights::names() {
        assert_eq!(name.parse::<HostWeights>().unwrap().to_string(), name);
    }
    let error = "q9".parse::<HostWeights>().unwrap_err().to_string();
    assert!(
        error.contains("`q9`") && error.contains("`stored`"),
        "{error}"
    );
}

/// An adapter of the tiny decoder that changes something, and the decoder with it.
fn adapted(seed: u64, targets: &[&str]) -> (Adapter, Llama) {
    let config = LoraConfig::new(3, 6.0, targets.iter().copied());
    let mut model = tiny().attach_lora(&config, seed).unwrap();
    for (_, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.lora_b = lora.lora_b.clone().map(|b| b.add_scalar(0.1));
        }
    }
    (model.adapter("tiny").unwrap(), model)
}

#[test]
fn an_adapter_computes_what_it_does_on_burn() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let ids = ids(100);
    let plain = tiny().token_nll(&ids).unwrap();
    for targets in [
        &["q_proj", "model.layers.*.mlp.*"][..],
        &["v_proj", "k_proj", "o_proj"],
    ] {
        let (adapter, on_burn) = adapted(3, targets);
        let host = HostLlama::load(&checkpoint, HostWeights::Stored).unwrap();
        let adapter = HostAdapter::new(host.config(), &adapter).unwrap();
        let host = host.with_adapter(Arc::new(adapter)).unwrap();
        let expected = on_burn.token_nll(&ids).unwrap();
        let found = host.token_nll(&ids).unwrap();
        let difference = |a: &[f32], b: &[f32]| {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(difference(&found, &expected) < 1e-4, "{targets:?}");
        assert!(difference(&expected, &plain) > 0.01, "it changes nothing");
    }
}

#[test]
fn a_row_has_the_same_bits_beside_rows_of_other_adapters() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let model = HostLlama::load(&checkpoint, HostWeights::Stored).unwrap();
    let load = |(adapter, _)| HostAdapter::new(model.config(), &adapter).unwrap();
    let first = load(adapted(3, &["q_proj", "down_proj"]));
    let second = load(adapted(4, &["gate_proj", "o_proj", "v_proj"]));
    let of_sequence = [
        Some(&first),
        None,
        Some(&second),
        Some(&first),
        Some(&second),
    ];
    let texts: Vec<Vec<u32>> = (0..5).map(|i| ids(20 + 7 * i)).collect();
    let tables: Vec<[u32; 1]> = (0..5).map(|i| [i]).collect();
    let segment = |i: usize| HostSegment {
        ids: &texts[i],
        n_past: 0,
        table: &tables[i],
        adapter: of_sequence[i],
    };
    let rows = |segments: &[HostSegment<'_>]| {
        let mut blocks = model.new_blocks();
        blocks.reach(5);
        model.forward_batch(segments, &mut blocks).unwrap();
        blocks.work.x
    };
    let together = rows(&(0..5).map(segment).collect::<Vec<_>>());
    let alone: Vec<f32> = (0..5).flat_map(|i| rows(&[segment(i)])).collect();
    assert_eq!(together, alone);
    let text = HostSegment {
        adapter: None,
        ..segment(0)
    };
    assert_ne!(rows(&[text]), rows(&[segment(0)]));
}

#[test]
fn adapters_that_cannot_be_beside_others_are_refused() {
    let config = tiny().config().clone();
    let message = |adapter: &Adapter| {
        let error = HostAdapter::new(&config, adapter).unwrap_err();
        error.to_string()
    };
    let (whole, _) = adapted(3, &["q_proj"]);
    let mut other = whole.clone();
    other.config.use_dora = true;
    assert_eq!(
        message(&other),
        "attach LoRA: expected two factors a layer, found DoRA or modules that were trained whole (hint: \
         `firebox merge` makes one model of it and its base)"
    );
    let mut half = whole.clone();
    half.tensors.pop_first();
    assert!(message(&half).contains("found only one of them"));
    let mut stray = whole.clone();
    let tensor = stray.tensors.values().next().unwrap().clone();
    stray.tensors.insert("base_model.model.x".into(), tensor);
    assert!(message(&stray).contains("`base_model.model.x` belongs to no layer"));
    let adapter = HostAdapter::new(&config, &whole).unwrap();
    let larger = LlamaConfig {
        n_layers: config.n_layers + 1,
        ..config.clone()
    };
    assert!(adapter.check(&config).is_ok() && adapter.check(&larger).is_err());
}

use firebox_model::{LayerwiseLlama, Llama};
use firebox_tensor::packed::PackedFormat;

use super::*;
use crate::calibrated::{Calibration, Method, quantize_calibrated};
use crate::testing::{decoder, saved, text};

fn texts() -> Vec<Vec<u32>> {
    (0..8).map(|seed| text(seed, 64)).collect()
}

/// A decoder some of whose channels are a hundred times as large as the others, in the gains of a norm
/// and in the rows of `up_proj`; what reads them makes up for it.
fn uneven() -> Llama {
    let mut model = decoder(false);
    let device = Device::flex();
    let factors = |n: usize| -> Tensor<1> {
        let factor = |i: usize| if i % 16 == 5 { 100.0 } else { 1.0 };
        let factors: Vec<f32> = (0..n).map(factor).collect();
        Tensor::from_floats(&*factors, &device)
    };
    for layer in &mut model.layers {
        let gamma = layer.input_layernorm.gamma.val();
        layer.input_layernorm.gamma = burn::module::Param::from_tensor(gamma * factors(64));
        let attention = &mut layer.self_attn;
        for linear in [
            &mut attention.q_proj,
            &mut attention.k_proj,
            &mut attention.v_proj,
        ] {
            linear.scale_columns(factors(64).recip());
        }
    }
    model
}

#[test]
fn a_scaled_model_computes_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let model = uneven();
    let checkpoint = saved(&model, &dir.path().join("model"));
    let config = QuantConfig::projections(PackedFormat::Q4_0);
    let device = Device::flex();
    let layerwise = LayerwiseLlama::new(&checkpoint, &device).unwrap();
    for scaling in [Scaling::Awq, Scaling::Smooth { strength: 0.5 }] {
        let mut states = layerwise.embed(&texts()).unwrap();
        let start = states.clone();
        let mut layer = layerwise.layer(0).unwrap();
        let expected = layerwise.run(&layer, &start[0]);
        let before = layer.self_attn.q_proj.weight.to_dense(&device);
        let mut scaler = Scaler::new(scaling, &checkpoint, &config, &device);
        layerwise
            .visit(0, &mut layer, &mut states, &mut scaler)
            .unwrap();
        let difference = (layerwise.run(&layer, &start[0]) - expected.clone()).abs();
        let largest: f32 = (difference.max() / expected.abs().max()).into_scalar();
        assert!(largest < 1e-5, "{scaling:?}: {largest}");
        let moved = (layer.self_attn.q_proj.weight.to_dense(&device) - before).abs();
        assert!(moved.max().into_scalar::<f32>() > 1e-3, "{scaling:?}");
    }
}

#[test]
fn smoothed_inputs_are_alike() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(&uneven(), &dir.path().join("model"));
    let config = QuantConfig::projections(PackedFormat::Int8Rowwise);
    let device = Device::flex();
    let layerwise = LayerwiseLlama::new(&checkpoint, &device).unwrap();
    let mut states = layerwise.embed(&texts()).unwrap();
    let mut layer = layerwise.layer(0).unwrap();
    // Largest over typical input of the first weights.
    let unevenness = |layer: &firebox_model::DecoderLayer| -> f32 {
        let x = layer.input_layernorm.forward(states[0].clone()).abs();
        (x.clone().max() / x.mean()).into_scalar()
    };
    let before = unevenness(&layer);
    let strength = 0.8;
    let mut scaler = Scaler::new(Scaling::Smooth { strength }, &checkpoint, &config, &device);
    let mut moved = states.clone();
    layerwise
        .visit(0, &mut layer, &mut moved, &mut scaler)
        .unwrap();
    let after = unevenness(&layer);
    assert!(
        before > 20.0 && after < before / 4.0,
        "{before} and {after}"
    );
    states.clear();
}

#[test]
fn scaled_columns_lose_less_where_inputs_are_uneven() {
    let dir = tempfile::tempdir().unwrap();
    let model = uneven();
    let checkpoint = saved(&model, &dir.path().join("model"));
    let keep = "*.up_proj.weight=keep".parse().unwrap();
    let config = QuantConfig::projections(PackedFormat::Q4_0).with_rules(vec![keep]);
    let journal = dir.path().join("journal");
    let distance = |name: &str, scaling| {
        let calibration = Calibration {
            method: Method::Importance,
            scaling,
            texts: texts(),
            device: Device::flex(),
            journal: Some(journal.clone()),
        };
        let out = dir.path().join(name);
        // Interrupted after the first layer, and gone on with.
        let interrupted = std::panic::AssertUnwindSafe(|| {
            let stop = |done, _| assert!(done < 1, "interrupted");
            quantize_calibrated(&checkpoint, &config, &calibration, &out, stop)
        });
        assert!(std::panic::catch_unwind(interrupted).is_err());
        quantize_calibrated(&checkpoint, &config, &calibration, &out, |_, _| ()).unwrap();
        let packed = Checkpoint::open(&out).unwrap();
        let name = "model.layers.0.mlp.up_proj.weight";
        assert_eq!(
            packed.tensor(name).unwrap() == checkpoint.tensor(name).unwrap(),
            scaling.is_none()
        );
        let packed = Llama::load(&packed, &Device::flex()).unwrap();
        let ids = model.ids_tensor(&texts()).unwrap();
        let difference = model.hidden(ids.clone()) - packed.hidden(ids);
        difference.powi_scalar(2).sum().into_scalar::<f32>()
    };
    let (plain, scaled) = (
        distance("plain", None),
        distance("scaled", Some(Scaling::Awq)),
    );
    assert!(scaled < plain, "{scaled} and {plain}");
}

#[test]
fn inputs_that_share_a_scale_are_one() {
    let sizes = root_mean_squares(&[1.0, 4.0, 9.0, 16.0], &[0, 1, 0, 1]);
    assert_eq!(sizes, [5.0_f32.sqrt(), 10.0_f32.sqrt()]);
    assert_eq!(powers(&[0.0, 0.0], 0.5), [1.0, 1.0]);
    let scales = powers(&[4.0, 1.0, 0.0], 0.5);
    assert!((scales[0] * scales[2] - 1.0).abs() < 1e-6, "{scales:?}");
    assert!((scales[0] / scales[1] - 2.0).abs() < 1e-6, "{scales:?}");
}

//! The loss scale against PyTorch's traces (`golden/grad_scaler.py` made them).

#![expect(
    clippy::unwrap_used,
    reason = "a test without its golden file should stop"
)]

use burn::{
    module::ParamId,
    tensor::{Device, Tensor},
};
use firebox_train::{GradScaler, GradScalerConfig, GradScalerError, ParamGradients};
use serde_json::Value;

fn gradients(value: f32) -> (ParamId, ParamGradients) {
    let (id, mut gradients) = (ParamId::new(), ParamGradients::default());
    gradients.insert(
        id,
        Tensor::from_floats([1.0, value, 2.0], &Device::default()),
    );
    (id, gradients)
}

fn config(json: &Value) -> GradScalerConfig {
    serde_json::from_value(json["config"].clone()).unwrap()
}

#[test]
fn all_traces_of_pytorch_are_followed() {
    let golden: Value = serde_json::from_str(include_str!("golden/grad_scaler.json")).unwrap();
    let cases = golden["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 4);
    for (name, case) in cases {
        let mut scaler = config(case).init();
        for row in case["trace"].as_array().unwrap() {
            let at = format!("{name}, row {}", row["i"]);
            let number = |key: &str| row[key].as_f64().unwrap();
            assert_eq!(f64::from(scaler.scale()), number("scale_before"), "{at}");
            let value = match row["grad"].as_str().unwrap() {
                "inf" => f32::INFINITY,
                "nan" => f32::NAN,
                _ => 1.0,
            };
            let (_, mut gradients) = gradients(value);
            let stepped = scaler.step("sgd", &mut gradients, |_| ()).unwrap();
            assert_eq!(stepped.is_some(), row["stepped"].as_bool().unwrap(), "{at}");
            scaler.update().unwrap();
            assert_eq!(f64::from(scaler.scale()), number("scale_after"), "{at}");
            assert_eq!(
                f64::from(scaler.growth_tracker()),
                number("growth_tracker"),
                "{at}"
            );
        }
    }
}

fn scaler() -> GradScaler {
    GradScalerConfig::default().init()
}

#[test]
fn gradients_are_divided_by_the_scale() {
    let (id, mut gradients) = gradients(65536.0);
    scaler().unscale("sgd", &mut gradients).unwrap();
    let found = gradients
        .remove(id)
        .unwrap()
        .into_data()
        .try_into_vec::<f32>()
        .unwrap();
    assert_eq!(found, [1.0 / 65536.0, 1.0, 2.0 / 65536.0]);
    let loss = Tensor::<1>::from_floats([2.0], &Device::default());
    assert_eq!(scaler().scale_loss(loss).into_scalar::<f32>(), 131_072.0);
}

#[test]
fn calls_out_of_order_are_errors() {
    let mut scaler = scaler();
    let (_, mut grads) = gradients(1.0);
    assert_eq!(scaler.update(), Err(GradScalerError::NothingChecked));
    scaler.unscale("a", &mut grads).unwrap();
    let twice = scaler.unscale("a", &mut grads);
    assert!(matches!(twice, Err(GradScalerError::UnscaledTwice { .. })));
    scaler.step("a", &mut grads, |_| ()).unwrap();
    let twice = scaler.step("a", &mut grads, |_| ());
    assert!(matches!(twice, Err(GradScalerError::SteppedTwice { .. })));
    let after = scaler.unscale("a", &mut grads);
    assert!(matches!(
        after,
        Err(GradScalerError::UnscaledAfterStep { .. })
    ));
    scaler.update().unwrap();
    scaler.unscale("a", &mut grads).unwrap();
}

#[test]
fn an_overflow_of_one_optimizer_stops_only_its_own_step_and_lowers_the_scale_of_all() {
    let mut scaler = scaler();
    let ((_, mut good), (_, mut bad)) = (gradients(1.0), gradients(f32::INFINITY));
    assert!(scaler.step("good", &mut good, |_| ()).unwrap().is_some());
    assert!(scaler.step("bad", &mut bad, |_| ()).unwrap().is_none());
    scaler.update().unwrap();
    assert_eq!(scaler.scale(), 32768.0);
}

#[test]
fn a_restored_scaler_goes_on_as_if_it_had_not_stopped() {
    let config = GradScalerConfig {
        growth_interval: 3,
        ..GradScalerConfig::default()
    };
    let mut whole = config.init();
    let mut part = config.init();
    for step in 0..10 {
        let (_, mut grads) = gradients(if step == 4 { f32::NAN } else { 1.0 });
        for scaler in [&mut whole, &mut part] {
            scaler.step("a", &mut grads, |_| ()).unwrap();
            scaler.update().unwrap();
        }
        let state = serde_json::to_string(&part.state()).unwrap();
        part = config.init();
        part.restore(serde_json::from_str(&state).unwrap());
        assert_eq!(part.state(), whole.state());
    }
}

#[test]
fn a_new_scale_is_taken_as_it_is() {
    let mut scaler = scaler();
    scaler.update_to(8.0);
    assert_eq!((scaler.scale(), scaler.growth_tracker()), (8.0, 0));
}

//! Lion, Adafactor, 8-bit AdamW and the schedules against torch and the papers
//! (`golden/more_optimizers.py` made the figures), and every optimizer's state.

#![expect(
    clippy::unwrap_used,
    reason = "a test without its golden file should stop"
)]

use burn::{
    module::ParamId,
    tensor::{Device, Tensor},
};
use firebox_train::{
    AdafactorConfig, AdamW8bitConfig, AdamWConfig, Decay, LionConfig, Optimizer, OptimizerConfig,
    ParamState, ParamUpdate, Schedule, SgdConfig, StateTensor,
};
use serde_json::Value;

const SHAPES: [&[usize]; 2] = [&[4, 3], &[3]];

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/more_optimizers.json")).unwrap()
}

fn floats(list: &Value) -> Vec<f32> {
    let numbers = list.as_array().unwrap().iter();
    numbers
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::default())
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn update(id: ParamId, shape: &[usize], learning_rate: f64) -> ParamUpdate<'_> {
    ParamUpdate {
        id,
        shape,
        learning_rate,
        weight_decay: None,
    }
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(1e-2);
        assert!(
            error <= tolerance,
            "element {at}: {found}, expected {expected}"
        );
    }
}

/// Runs a trajectory of the golden file.
fn check(mut optimizer: Box<dyn Optimizer>, case: &str, rate: f64, tolerance: f32) {
    let golden = golden();
    for (at, shape) in SHAPES.into_iter().enumerate() {
        let id = ParamId::new();
        let mut value = tensor(&floats(&golden["start"][at]));
        for step in golden["gradients"].as_array().unwrap() {
            let gradient = tensor(&floats(&step[at]));
            value = optimizer.update(&update(id, shape, rate), value, gradient);
        }
        assert_close(&values(value), &floats(&golden[case][at]), tolerance);
    }
}

#[test]
fn adafactor_is_torchs() {
    let config = AdafactorConfig {
        weight_decay: 0.1,
        ..AdafactorConfig::default()
    };
    // Sums over rows and columns are taken in another order: some units in the last place a step.
    check(Box::new(config.init()), "adafactor", 0.05, 5e-6);
}

#[test]
fn lion_is_the_papers() {
    let config = LionConfig {
        weight_decay: 0.1,
        ..LionConfig::default()
    };
    // The same operations in f32; a fused multiply-add may differ in the last place.
    check(Box::new(config.init()), "lion", 1e-2, 1e-6);
}

/// The values that the script computes, too.
fn formula(len: usize, k: usize) -> Vec<f32> {
    let at = |j: usize| ((0.37 * j as f64 + 1.7 * k as f64).sin() * (1 + j % 97) as f64) as f32;
    (0..len).map(at).collect()
}

fn scaled(values: Vec<f32>, factor: f32) -> Vec<f32> {
    values.into_iter().map(|x| x * factor).collect()
}

#[test]
fn adamw_8bit_is_the_papers() {
    let config = AdamW8bitConfig(AdamWConfig {
        weight_decay: 0.1,
        ..AdamWConfig::default()
    });
    let mut optimizer = config.init();
    let id = ParamId::new();
    let mut value = tensor(&scaled(formula(5000, 0), 0.01));
    for k in 0..8 {
        let gradient = tensor(&scaled(formula(5000, 1 + k), 1e-3));
        value = optimizer.update(&update(id, &[5000], 1e-2), value, gradient);
    }
    let found: Vec<f32> = values(value).into_iter().step_by(20).collect();
    let expected = floats(&golden()["adamw_8bit"]);
    // A moment that is halfway between two codes may take the other one after a rounding of one
    // unit; its step then differs by the codes' distance, a few parts in a thousand of 1e-2.
    let is_far = |(found, expected): &(&f32, &f32)| (*found - *expected).abs() > 1e-6;
    let n_far = found.iter().zip(&expected).filter(is_far).count();
    assert!(
        n_far <= found.len() / 50,
        "{n_far} of {} differ",
        found.len()
    );
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 2e-3,
            "{found}, expected {expected}"
        );
    }
}

#[test]
fn adamw_8bit_takes_two_bytes_an_element() {
    let mut optimizer = AdamW8bitConfig::default().init();
    let id = ParamId::new();
    let len = 1 << 16;
    optimizer.update(
        &update(id, &[len], 1e-3),
        tensor(&vec![1.0; len]),
        tensor(&vec![0.1; len]),
    );
    let n_bytes: usize = optimizer
        .state(id)
        .unwrap()
        .tensors
        .values()
        .map(|tensor| match tensor {
            StateTensor::F32(values) => 4 * values.len(),
            StateTensor::U8(codes) => codes.len(),
        })
        .sum();
    assert_eq!(n_bytes, 2 * len + 2 * 4 * len / 256);
}

fn optimizers() -> Vec<(&'static str, OptimizerConfig)> {
    vec![
        ("adamw", OptimizerConfig::AdamW(AdamWConfig::default())),
        (
            "sgd",
            OptimizerConfig::Sgd(SgdConfig {
                momentum: 0.9,
                weight_decay: 0.01,
            }),
        ),
        ("lion", OptimizerConfig::Lion(LionConfig::default())),
        (
            "adafactor",
            OptimizerConfig::Adafactor(AdafactorConfig::default()),
        ),
        (
            "adamw8bit",
            OptimizerConfig::AdamW8bit(AdamW8bitConfig::default()),
        ),
    ]
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    for (name, config) in optimizers() {
        assert_eq!(serde_json::to_value(&config).unwrap()["name"], name);
        for shape in [&[64usize, 80][..], &[5000], &[7]] {
            let len: usize = shape.iter().product();
            let (id, other_id) = (ParamId::new(), ParamId::new());
            let mut whole = config.init();
            let mut value = tensor(&scaled(formula(len, 0), 0.01));
            let gradient = |k| tensor(&scaled(formula(len, k), 1e-3));
            for k in 1..5 {
                value = whole.update(&update(id, shape, 1e-2), value, gradient(k));
            }
            let mut part = config.init();
            let state = whole.state(id).unwrap();
            part.restore(other_id, state, &Device::default()).unwrap();
            let (mut a, mut b) = (value.clone(), value);
            for k in 5..9 {
                a = whole.update(&update(id, shape, 1e-2), a, gradient(k));
                b = part.update(&update(other_id, shape, 1e-2), b, gradient(k));
            }
            let bits = |x| values(x).into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert!(bits(a) == bits(b), "{name} {shape:?}");
        }
    }
}

#[test]
fn a_state_of_another_optimizer_is_refused() {
    for (name, config) in optimizers() {
        let state = ParamState {
            n_updates: 1,
            tensors: [("something".to_owned(), StateTensor::F32(vec![1.0]))].into(),
        };
        let error = config
            .init()
            .restore(ParamId::new(), state, &Device::default());
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("something") && text.contains("expected"),
            "{name}: {text}"
        );
    }
}

#[test]
fn every_optimizer_goes_down_a_bowl() {
    for (name, config) in optimizers() {
        let (mut optimizer, id) = (config.init(), ParamId::new());
        let mut value = tensor(&[1.0, -2.0, 3.0]);
        for _ in 0..600 {
            let gradient = value.clone();
            value = optimizer.update(&update(id, &[3], 1e-2), value, gradient);
        }
        let left = values(value).iter().map(|x| x.abs()).fold(0.0, f32::max);
        // Adafactor's steps are a share of the values that are left.
        assert!(left < 1.0, "{name}: {left}");
    }
}

#[test]
fn one_cycle_and_linear_are_torchs() {
    let golden = golden();
    let rates = |decay, n_warmup_steps| -> Vec<f32> {
        let schedule = Schedule {
            peak: 1.0,
            n_warmup_steps,
            decay,
        };
        (0..40)
            .map(|step| schedule.learning_rate(step, 40) as f32)
            .collect()
    };
    let cycle = Decay::OneCycle {
        start_div: 25.0,
        end_div: 1e4,
    };
    assert_close(&rates(cycle, 12), &floats(&golden["one_cycle"]), 1e-6);
    let linear = Decay::Linear { floor: 0.1 };
    assert_close(&rates(linear, 0), &floats(&golden["linear"]), 1e-6);
}

#[test]
fn warm_up_stable_decay_stays_and_then_falls() {
    let schedule = Schedule {
        peak: 2.0,
        n_warmup_steps: 10,
        decay: Decay::WarmupStableDecay {
            decay_share: 0.2,
            floor: 0.0,
        },
    };
    let rate = |step| schedule.learning_rate(step, 100);
    assert_eq!((rate(10), rate(79), rate(80)), (2.0, 2.0, 2.0));
    assert_eq!(rate(85), 2.0 * (1.0 - 0.25f64.sqrt()));
    assert!(rate(99) < 0.06 && rate(99) > 0.0);
}

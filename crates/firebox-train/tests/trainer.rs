//! The training loop on tiny modules.

#![expect(
    clippy::unwrap_used,
    reason = "a test without its golden file should stop"
)]

mod golden;

use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor, activation::tanh},
};
use firebox_train::{
    BatchError, BatchSource, Decay, LossError, Observer, OptimizerConfig, Outcome, RunPlan,
    Schedule, SgdConfig, StepLoss, StepReport, TrainConfig, TrainError, TrainStep, TrainSummary,
    train,
};
use golden::{assert_close, floats, golden};
use std::cell::Cell;

#[derive(Module, Debug)]
struct Mlp {
    hidden: Linear,
    output: Linear,
}

#[derive(Clone, Debug)]
struct Pairs {
    inputs: Tensor<2>,
    targets: Tensor<2>,
}

impl TrainStep<Pairs> for Mlp {
    fn loss(&self, batch: &Pairs) -> Result<StepLoss, LossError> {
        let hidden = tanh(self.hidden.forward(batch.inputs.clone())); // [batch, 8]
        let errors = self.output.forward(hidden) - batch.targets.clone(); // [batch, 2]
        Ok(StepLoss::from_mean(
            errors.powi_scalar(2).mean(),
            batch.targets.dims()[0],
        ))
    }
}

fn device() -> Device {
    Device::default().autodiff()
}

/// A burn layer with torch's weights; burn's layout is `[d_input, d_output]`, torch's the
/// transpose.
fn linear(name: &str, d_input: usize, d_output: usize) -> Linear {
    let start = &golden()["mlp"]["start"];
    let tensor = |part: &str| {
        let values = floats(&start[format!("{name}.{part}")]);
        Tensor::<1>::from_floats(values.as_slice(), &device())
    };
    let weight = tensor("weight").reshape([d_output, d_input]).transpose(); // [d_input, d_output]
    Linear {
        weight: Param::from_tensor(weight),
        bias: Some(Param::from_tensor(tensor("bias"))),
    }
}

fn mlp() -> Mlp {
    Mlp {
        hidden: linear("0", 3, 8),
        output: linear("2", 8, 2),
    }
}

/// Rows `range` of the golden data.
fn pairs(range: std::ops::Range<usize>) -> Pairs {
    let columns = |name: &str, n_columns: usize| {
        let values = floats(&golden()["mlp"][name]);
        Tensor::<1>::from_floats(values.as_slice(), &device())
            .reshape([16, n_columns]) // [batch, n_columns]
            .slice([range.clone(), 0..n_columns])
    };
    Pairs {
        inputs: columns("inputs", 3),
        targets: columns("targets", 2),
    }
}

fn config(n_steps: usize, rate: f64) -> TrainConfig {
    TrainConfig::new(n_steps, Schedule::constant(rate))
}

#[test]
fn an_mlp_trains_as_in_torch() {
    let config = TrainConfig {
        max_grad_norm: Some(0.5),
        ..config(20, 0.02)
    };
    let (mlp, summary) = train(mlp(), &mut vec![pairs(0..16)], &config, &mut ()).unwrap();
    let expected = &golden()["mlp"];
    let losses = floats(&expected["losses"]);
    let norms = floats(&expected["norms"]);
    for (record, (loss, norm)) in summary.steps.iter().zip(losses.iter().zip(&norms)) {
        // Rounding differs in the two matrix products, and grows a little with every step.
        assert!(
            (record.loss / f64::from(*loss) - 1.0).abs() < 2e-5,
            "{record:?} {loss}"
        );
        assert!(
            (record.grad_norm / f64::from(*norm) - 1.0).abs() < 2e-5,
            "{record:?} {norm}"
        );
    }
    assert_eq!(summary.steps.len(), losses.len());
    let weight = mlp.hidden.weight.val().transpose(); // [d_output, d_input]
    assert_close(
        weight,
        &floats(&expected["end"]["0.weight"]),
        1e-4,
        "0.weight",
    );
    let bias = mlp.output.bias.unwrap().val();
    assert_close(bias, &floats(&expected["end"]["2.bias"]), 1e-4, "2.bias");
}

#[test]
fn an_mlp_from_burns_own_initialization_learns() {
    let device = device();
    let mlp = Mlp {
        hidden: LinearConfig::new(3, 8).init(&device),
        output: LinearConfig::new(8, 2).init(&device),
    };
    let schedule = Schedule {
        peak: 0.05,
        n_warmup_steps: 10,
        decay: Decay::Cosine { floor: 0.1 },
    };
    let config = TrainConfig::new(300, schedule);
    let (_, summary) = train(mlp, &mut vec![pairs(0..16)], &config, &mut ()).unwrap();
    assert!(summary.last_loss() < Some(0.1 * summary.first_loss().unwrap()));
    assert_eq!(summary.n_trainable_params, 3 * 8 + 8 + 8 * 2 + 2);
    assert_eq!(
        (summary.outcome, summary.n_tokens),
        (Outcome::Finished, 300 * 16)
    );
}

#[test]
fn accumulating_unequal_batches_equals_one_large_batch() {
    let run = |batches: Vec<Pairs>| -> (Mlp, TrainSummary) {
        let config = TrainConfig {
            n_accum_steps: batches.len(),
            max_grad_norm: Some(0.5),
            optimizer: OptimizerConfig::Sgd(SgdConfig {
                momentum: 0.9,
                weight_decay: 0.0,
            }),
            ..config(10, 0.05)
        };
        let mut batches = batches;
        train(mlp(), &mut batches, &config, &mut ()).unwrap()
    };
    let (large, large_summary) = run(vec![pairs(0..16)]);
    let (small, small_summary) = run(vec![pairs(0..1), pairs(1..4), pairs(4..9), pairs(9..16)]);
    let steps = large_summary.steps.iter().zip(&small_summary.steps);
    for (large, small) in steps {
        // Only the order of f32 sums differs.
        assert!(
            (large.loss / small.loss - 1.0).abs() < 1e-5,
            "{large:?} {small:?}"
        );
        assert!((large.grad_norm / small.grad_norm - 1.0).abs() < 1e-5);
        assert_eq!(large.n_tokens, small.n_tokens);
    }
    let weight = large.hidden.weight.val().into_data();
    let expected = weight.iter::<f32>().collect::<Vec<_>>();
    assert_close(small.hidden.weight.val(), &expected, 1e-4, "hidden.weight");
}

#[test]
fn the_same_run_gives_the_same_bits() {
    let run = || {
        let (mlp, summary) = train(
            mlp(),
            &mut vec![pairs(0..7), pairs(7..16)],
            &config(6, 0.05),
            &mut (),
        )
        .unwrap();
        (summary.steps, mlp.hidden.weight.val().into_data())
    };
    assert_eq!(run(), run());
}

#[test]
fn frozen_layers_do_not_move() {
    let mut mlp = mlp();
    mlp.hidden = mlp.hidden.no_grad();
    let before = mlp.hidden.weight.val().into_data();
    let (mlp, summary) = train(mlp, &mut vec![pairs(0..16)], &config(5, 0.1), &mut ()).unwrap();
    assert_eq!(mlp.hidden.weight.val().into_data(), before);
    assert!(summary.last_loss() < summary.first_loss());
    assert_eq!(summary.n_trainable_params, 8 * 2 + 2);
}

#[derive(Default)]
struct Recorder {
    plan: Option<RunPlan>,
    reports: Vec<StepReport>,
    n_asked: Cell<usize>,
    stop_at: Option<usize>,
}

impl Observer for Recorder {
    fn on_start(&mut self, plan: &RunPlan) {
        self.plan = Some(plan.clone());
    }

    fn on_step(&mut self, report: &StepReport) {
        self.reports.push(report.clone());
    }

    fn is_cancelled(&self) -> bool {
        self.n_asked.set(self.n_asked.get() + 1);
        self.stop_at == Some(self.reports.len())
    }
}

#[test]
fn an_observer_sees_every_step() {
    let mut recorder = Recorder::default();
    let config = TrainConfig {
        n_accum_steps: 2,
        ..config(4, 0.05)
    };
    let mut batches = vec![pairs(0..16)];
    let (_, summary) = train(mlp(), &mut batches, &config, &mut recorder).unwrap();
    assert_eq!(recorder.plan.unwrap().n_steps, 4);
    let records: Vec<_> = recorder
        .reports
        .iter()
        .map(|report| report.record.clone())
        .collect();
    assert_eq!(records, summary.steps);
    assert_eq!(
        records.iter().map(|record| record.step).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    let last = recorder.reports.last().unwrap();
    assert_eq!((last.eta.as_nanos(), last.n_steps), (0, 4));
    assert!(last.tokens_per_s > 0.0);
    assert_eq!(recorder.n_asked.get(), 8, "asked before every batch");
}

#[test]
fn a_cancelled_run_gives_the_model_of_its_last_finished_step() {
    let mut recorder = Recorder {
        stop_at: Some(3),
        ..Recorder::default()
    };
    let mut batches = vec![pairs(0..16)];
    let (stopped, summary) = train(mlp(), &mut batches, &config(9, 0.05), &mut recorder).unwrap();
    assert_eq!(
        (summary.outcome, summary.steps.len()),
        (Outcome::Cancelled, 3)
    );
    let (short, _) = train(mlp(), &mut batches, &config(3, 0.05), &mut ()).unwrap();
    assert_eq!(
        stopped.hidden.weight.val().into_data(),
        short.hidden.weight.val().into_data()
    );
}

#[track_caller]
fn check_error(
    mlp: Mlp,
    mut batches: impl BatchSource<Batch = Pairs>,
    config: TrainConfig,
    fragments: &[&str],
) -> TrainError {
    let error = train(mlp, &mut batches, &config, &mut ()).unwrap_err();
    let message = error.to_string();
    for fragment in fragments {
        assert!(message.contains(fragment), "no `{fragment}` in: {message}");
    }
    error
}

#[test]
fn a_loss_that_is_not_finite_names_step_and_rate() {
    let mut poisoned = pairs(0..16);
    poisoned.targets = poisoned.targets * f32::INFINITY;
    let batches = vec![pairs(0..16), pairs(0..16), poisoned];
    let fragments = [
        "step 3",
        "finite loss",
        "5e-2",
        "hint: lower the learning rate",
    ];
    check_error(mlp(), batches, config(9, 0.05), &fragments);
}

#[test]
fn a_gradient_that_is_not_finite_is_not_applied() {
    #[derive(Module, Debug)]
    struct Root {
        value: Param<Tensor<1>>,
    }
    impl TrainStep<()> for Root {
        fn loss(&self, _batch: &()) -> Result<StepLoss, LossError> {
            Ok(StepLoss::from_mean(self.value.val().sqrt().sum(), 1)) // infinite slope at 0
        }
    }
    let root = Root {
        value: Param::from_tensor(Tensor::zeros([2], &device())),
    };
    let error = train(root, &mut vec![()], &config(1, 0.1), &mut ()).unwrap_err();
    assert!(
        matches!(error, TrainError::NonFiniteGradient { step: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_model_without_trainable_parameters_is_refused() {
    let batches = vec![pairs(0..16)];
    check_error(
        mlp().no_grad(),
        batches.clone(),
        config(1, 0.1),
        &["trainable", "unfreeze"],
    );
    // Off the autodiff device nothing is trainable either.
    check_error(mlp().valid(), batches, config(1, 0.1), &["autodiff"]);
}

#[test]
fn missing_data_is_an_error_with_the_batch_number() {
    struct Broken;
    impl BatchSource for Broken {
        type Batch = Pairs;

        fn batch(&mut self, index: usize) -> Result<Pairs, BatchError> {
            match index {
                2 => Err("disk is gone".into()),
                _ => Ok(pairs(0..16)),
            }
        }
    }
    check_error(mlp(), Broken, config(9, 0.05), &["batch 2"]);
    let error = check_error(mlp(), Vec::<Pairs>::new(), config(9, 0.05), &["batch 0"]);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("at least one batch"), "{source}");
}

#[derive(Module, Debug)]
struct Constant {
    value: Param<Tensor<1>>,
}

/// How many of the batch's tokens count.
impl TrainStep<usize> for Constant {
    fn loss(&self, n_tokens: &usize) -> Result<StepLoss, LossError> {
        let mean = match n_tokens {
            0 => self.value.val().sum() / 0.0, // a mean over nothing
            _ => self.value.val().sum(),
        };
        Ok(StepLoss::from_mean(mean, *n_tokens).with_input_tokens(10))
    }
}

#[test]
fn batches_without_labels_have_no_weight_and_a_step_of_them_is_an_error() {
    let constant = Constant {
        value: Param::from_tensor(Tensor::ones([1], &device())),
    };
    let config = TrainConfig {
        n_accum_steps: 2,
        ..config(1, 0.1)
    };
    let run = |batches: Vec<usize>| {
        let mut batches = batches;
        train(constant.clone(), &mut batches, &config, &mut ())
    };
    let (_, summary) = run(vec![0, 3]).unwrap();
    assert_eq!((summary.n_tokens, summary.n_input_tokens), (3, 20));
    assert_eq!(summary.first_loss(), Some(1.0));
    let error = run(vec![0, 0]).unwrap_err();
    assert!(matches!(error, TrainError::NoTokens { step: 1 }), "{error}");
}

#[test]
fn a_loss_apart_from_the_parameters_is_an_error() {
    #[derive(Module, Debug)]
    struct Detached {
        value: Param<Tensor<1>>,
    }
    impl TrainStep<()> for Detached {
        fn loss(&self, _batch: &()) -> Result<StepLoss, LossError> {
            Ok(StepLoss::from_mean(
                self.value.val().detach().inner().sum(),
                1,
            ))
        }
    }
    let detached = Detached {
        value: Param::from_tensor(Tensor::ones([1], &device())),
    };
    let error = train(detached, &mut vec![()], &config(1, 0.1), &mut ()).unwrap_err();
    assert!(
        matches!(error, TrainError::NoGradient { step: 1 }),
        "{error}"
    );
}

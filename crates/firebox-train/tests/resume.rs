//! Runs that are killed, stopped or out of disk go on as if nothing had happened.
//!
//! The runs that die are processes of their own: this test program, started again for one test that
//! does nothing unless it is told where to run.

#![expect(clippy::unwrap_used, reason = "a test without its folder should stop")]

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation::tanh},
};
use firebox_train::{
    AdamWConfig, BatchError, BatchSource, CheckpointConfig, Decay, EarlyStoppingConfig, EmaConfig,
    Evaluation, EvaluationConfig, Evaluator, GradScalerConfig, LossError, Metric, Observer,
    OptimizerConfig, Outcome, ParamGroup, Place, RunError, RunFolder, Schedule, Setup, StepLoss,
    StepReport, TrainConfig, TrainError, TrainHooks, TrainStep, TrainSummary, read_metrics,
    train_with,
};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const N_STEPS: usize = 60;
const WIDTH: usize = 96;
const BATCH: usize = 16;
/// Where the child process trains.
const DIR: &str = "FIREBOX_TEST_RUN_DIR";

#[derive(Module, Debug)]
struct Mlp {
    first: Param<Tensor<2>>,
    second: Param<Tensor<2>>,
}

/// Numbers that look random, by place.
fn noise(seed: usize, shape: [usize; 2]) -> TensorData {
    let at = |i: usize| ((i * 7919 + seed * 104_729) as f32 * 0.754_877_7).fract() - 0.5;
    TensorData::new(
        (0..shape[0] * shape[1]).map(at).collect::<Vec<f32>>(),
        shape,
    )
}

fn model() -> Mlp {
    let device = Device::default().autodiff();
    let weight = |seed, shape| Param::from_tensor(Tensor::from_data(noise(seed, shape), &device));
    Mlp {
        first: weight(1, [WIDTH, WIDTH]),
        second: weight(2, [WIDTH, 1]),
    }
}

impl TrainStep<usize> for Mlp {
    fn loss(&self, index: &usize) -> Result<StepLoss, LossError> {
        let device = self.first.device();
        let x = Tensor::from_data(noise(100 + index, [BATCH, WIDTH]), &device);
        let y = tanh(x.clone().matmul(self.first.val())).matmul(self.second.val()); // [batch, 1]
        let errors = y - x.sum_dim(1).cos(); // [batch, 1]
        Ok(StepLoss::from_mean(errors.powi_scalar(2).mean(), BATCH))
    }
}

/// Batches by a counter that has to be put back, as a streaming loader's has.
struct Counter(usize);

impl BatchSource for Counter {
    type Batch = usize;

    fn batch(&mut self, _index: usize) -> Result<usize, BatchError> {
        self.0 += 1;
        Ok(self.0)
    }

    fn state(&self) -> serde_json::Value {
        self.0.into()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<(), BatchError> {
        self.0 = usize::try_from(state.as_u64().ok_or("expected a count")?)?;
        Ok(())
    }
}

struct HeldOut;

impl Evaluator<Mlp> for HeldOut {
    fn evaluate(&mut self, model: &Mlp, _step: usize) -> Result<Evaluation, LossError> {
        Ok(Evaluation {
            loss: model.loss(&0)?.value,
            ..Evaluation::default()
        })
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        n_accum_steps: 2,
        optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
        max_grad_norm: Some(1.0),
        max_grad_value: Some(0.5),
        groups: vec![ParamGroup {
            rate_factor: 2.0,
            ..ParamGroup::matching("second")
        }],
        ema: Some(EmaConfig { decay: 0.9 }),
        early_stopping: Some(EarlyStoppingConfig {
            patience: 100,
            min_delta: 0.0,
        }),
        loss_scaling: Some(GradScalerConfig {
            growth_interval: 9,
            ..GradScalerConfig::default()
        }),
        evaluation: Some(EvaluationConfig { every_n_steps: 7 }),
        checkpoints: CheckpointConfig {
            every_n_steps: 1,
            n_kept: 2,
        },
        ..TrainConfig::new(
            N_STEPS,
            Schedule {
                peak: 3e-3,
                n_warmup_steps: 5,
                decay: Decay::Cosine { floor: 0.1 },
            },
        )
    }
}

fn run(
    dir: &Path,
    config: &TrainConfig,
    observer: &mut dyn Observer,
) -> Result<(Mlp, TrainSummary), TrainError> {
    let folder = RunFolder::open(dir)?;
    let hooks = TrainHooks {
        observer,
        evaluator: &mut HeldOut,
        place: Place::Resume(&folder),
        world: None,
        setup: Setup::default(),
    };
    train_with(model(), &mut Counter(0), config, hooks)
}

/// Every bit that a run leaves: losses, norms, evaluations, weights.
fn bits((model, summary): &(Mlp, TrainSummary)) -> Vec<u64> {
    let mut bits = Vec::new();
    for record in &summary.steps {
        bits.extend([record.loss, record.grad_norm, record.learning_rate].map(f64::to_bits));
    }
    for (step, evaluation) in &summary.evaluations {
        bits.extend([*step as u64, evaluation.loss.to_bits()]);
    }
    for weight in [&model.first, &model.second] {
        let values = weight.val().into_data().try_into_vec::<f32>().unwrap();
        bits.extend(values.iter().map(|value| u64::from(value.to_bits())));
    }
    bits
}

#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else {
        return; // Not started by another test.
    };
    if let Err(error) = run(Path::new(&dir), &config(), &mut ()) {
        let mut error: &dyn std::error::Error = &error;
        eprintln!("{error}");
        while let Some(source) = error.source() {
            error = source;
            eprintln!("{error}");
        }
        std::process::exit(3);
    }
}

/// This program again, for [`child`] alone.
fn child_process(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env(DIR, dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn twenty_killed_runs_end_like_the_unbroken_one() {
    let whole_dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let whole = run(whole_dir.path(), &config(), &mut ()).unwrap();
    let whole_time = started.elapsed();
    assert_eq!(whole.1.steps.len(), N_STEPS);

    let mut n_kills = 0;
    for round in 0_u32..20 {
        let dir = tempfile::tempdir().unwrap();
        // A kill every third of a run or so, never at the same moment twice.
        let mut wait = whole_time.mul_f64(0.15 + 0.017 * f64::from(round));
        loop {
            let mut process = child_process(dir.path()).spawn().unwrap();
            let deadline = Instant::now() + wait;
            while process.try_wait().unwrap().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(200));
            }
            match process.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success(), "round {round}: {status}");
                    break;
                }
                None => {
                    process.kill().unwrap();
                    process.wait().unwrap();
                    n_kills += 1;
                    wait = wait.mul_f64(1.07); // A slow machine ends some day, too.
                }
            }
        }
        // A finished run only reads: no step is done again.
        let found = run(dir.path(), &config(), &mut Refuses).unwrap();
        assert!(bits(&found) == bits(&whole), "round {round} differs");
    }
    assert!(
        n_kills >= 20,
        "only {n_kills} kills: the runs are too short for this test"
    );
}

struct Refuses;

impl Observer for Refuses {
    fn on_step(&mut self, report: &StepReport) {
        panic!("step {} was done again", report.record.step);
    }
}

#[test]
fn a_cancelled_run_goes_on_from_the_last_finished_step() {
    struct Cancels(usize);
    impl Observer for Cancels {
        fn on_step(&mut self, report: &StepReport) {
            self.0 = report.record.step;
        }
        fn is_cancelled(&self) -> bool {
            self.0 == 13
        }
    }
    let config = TrainConfig {
        checkpoints: CheckpointConfig {
            every_n_steps: 10,
            n_kept: 1,
        },
        ..config()
    };
    let whole_dir = tempfile::tempdir().unwrap();
    let whole = run(whole_dir.path(), &config, &mut ()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let (_, summary) = run(dir.path(), &config, &mut Cancels(0)).unwrap();
    assert_eq!(
        (summary.outcome, summary.steps.len()),
        (Outcome::Cancelled, 13)
    );
    let found = run(dir.path(), &config, &mut ()).unwrap();
    assert!(bits(&found) == bits(&whole));
}

#[test]
fn a_full_disk_costs_no_checkpoint_and_the_run_goes_on_when_there_is_room() {
    let whole_dir = tempfile::tempdir().unwrap();
    let whole = run(whole_dir.path(), &config(), &mut ()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    // A disk of its own, of 300 KiB: checkpoints of 110 KiB fit twice, not three times. A ballast
    // file decides when it is full.
    let script = r#"
        set -e
        mount -t tmpfs -o size=700k tmpfs "$1/disk"
        head -c 300k /dev/zero > "$1/disk/ballast"
        if "$2" --exact child --nocapture 2> "$1/errors"; then exit 10; fi
        ls "$1/disk/run/checkpoints" > "$1/left"
        mount -o remount,size=8m "$1/disk"
        "$2" --exact child --nocapture 2>> "$1/errors" || exit 11
        cp -r "$1/disk/run" "$1/saved"
    "#;
    std::fs::create_dir(dir.path().join("disk")).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(exe)
        .env(DIR, dir.path().join("disk/run"))
        .output()
        .expect("util-linux has `unshare`: this test mounts a small disk of its own");
    let errors = std::fs::read_to_string(dir.path().join("errors")).unwrap_or_default();
    assert!(output.status.success(), "{output:?}\n{errors}");
    assert!(errors.contains("No space left"), "{errors}");
    assert!(errors.contains("hint"), "{errors}");
    let left = std::fs::read_to_string(dir.path().join("left")).unwrap();
    assert!(left.contains("step-"), "no checkpoint was left: {left}");
    let found = run(&dir.path().join("saved"), &config(), &mut Refuses).unwrap();
    assert!(bits(&found) == bits(&whole));
}

#[test]
fn other_settings_and_other_models_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let short = TrainConfig {
        evaluation: None,
        ..TrainConfig::new(3, Schedule::constant(1e-3))
    };
    run(dir.path(), &short, &mut ()).unwrap();
    let other = TrainConfig {
        schedule: Schedule::constant(2e-3),
        ..short.clone()
    };
    let error = run(dir.path(), &other, &mut ()).unwrap_err().to_string();
    assert!(
        error.contains("`schedule`") && error.contains("0.002"),
        "{error}"
    );

    let folder = RunFolder::open(dir.path()).unwrap();
    let train = |model, place| {
        let hooks = TrainHooks {
            observer: &mut (),
            evaluator: &mut HeldOut,
            place,
            world: None,
            setup: Setup::default(),
        };
        train_with(model, &mut Counter(0), &short, hooks).map(|_| ())
    };
    let fresh = train(model(), Place::New(&folder));
    let occupied = matches!(
        fresh,
        Err(TrainError::Run(RunError::Occupied { last_step: 3, .. }))
    );
    assert!(occupied);
    let device = Device::default().autodiff();
    let wider = Mlp {
        first: Param::from_tensor(Tensor::zeros([WIDTH, WIDTH + 1], &device)),
        ..model()
    };
    let error = train(wider, Place::Resume(&folder));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("first") && error.contains("97"), "{error}");
}

#[test]
fn metrics_are_on_disk_as_they_happen() {
    struct Reads<'a>(&'a Path);
    impl Observer for Reads<'_> {
        fn on_step(&mut self, report: &StepReport) {
            let metrics = read_metrics(&self.0.join("metrics.jsonl")).unwrap();
            let steps = metrics.iter().filter(|m| matches!(m, Metric::Step { .. }));
            assert_eq!(steps.count(), report.record.step);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &config(), &mut Reads(dir.path())).unwrap();
}

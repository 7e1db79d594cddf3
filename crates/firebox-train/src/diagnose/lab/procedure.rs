//! Failures of how a run is made.

use burn::module::Module;
use firebox_data::Batch;
use firebox_model::LoraConfig;

use super::{
    Broken, Fixed, Variant,
    numbers::adamw,
    perceptron::{HeldOut, Knobs, Perceptron, Teacher},
    reader::{self, Batches, LEN, ROWS, Scores, VOCAB, batch, decoder, sentence, sentences, setup},
};
use crate::{
    batch::BatchSource,
    config::TrainConfig,
    error::TrainError,
    evaluation::EvaluationConfig,
    observer::{Observer, TrainSummary},
    run_error::RunError,
    run_folder::{CheckpointConfig, RunFolder},
    signals::{Setup, shared_rows},
    trainer::{Place, TrainHooks, train_with},
};
use burn::tensor::Device;

const SEED: u64 = 17;

fn evaluated(n_steps: usize, rate: f64) -> TrainConfig {
    TrainConfig {
        evaluation: Some(EvaluationConfig { every_n_steps: 10 }),
        ..adamw(n_steps, rate)
    }
}

/// Held-out sentences that no batch has.
fn held_out() -> Vec<Batch> {
    (5000..5004)
        .map(|index| sentences(SEED, index, VOCAB))
        .collect()
}

/// The same four sentences over and over; fresh ones.
pub(super) fn overfitting(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let batches = move |index| match variant {
        Broken => sentences(SEED, 0, VOCAB),
        Fixed => sentences(SEED, index, VOCAB),
    };
    let hooks = TrainHooks {
        observer,
        evaluator: &mut Scores(held_out()),
        place: Place::Memory,
        world: None,
        setup: setup(),
    };
    let config = evaluated(120, 5e-3);
    Ok(train_with(decoder(VOCAB, SEED), &mut Batches(batches), &config, hooks)?.1)
}

/// Held-out sentences of which some are trained on; of which none is.
pub(super) fn evaluation_on_training_data(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let training: Vec<Batch> = (0..40).map(|index| sentences(SEED, index, VOCAB)).collect();
    let mut scored = held_out();
    if variant == Broken {
        scored[1] = training[3].clone();
    }
    let rows = |batches: &[Batch]| -> Vec<Vec<u32>> {
        batches
            .iter()
            .flat_map(|batch| batch.input_ids.clone())
            .collect()
    };
    let hooks = TrainHooks {
        observer,
        evaluator: &mut Scores(scored.clone()),
        place: Place::Memory,
        world: None,
        setup: Setup {
            n_shared_rows: Some(shared_rows(&rows(&training), &rows(&scored))),
            ..setup()
        },
    };
    let config = evaluated(40, 3e-3);
    Ok(train_with(
        decoder(VOCAB, SEED),
        &mut training.as_slice(),
        &config,
        hooks,
    )?
    .1)
}

/// An adapter on a copy of the model that is trained; on the model itself.
pub(super) fn adapter_not_attached(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let lora = LoraConfig::new(4, 8.0, vec!["q_proj".to_owned(), "v_proj".to_owned()]);
    let base = decoder(VOCAB, SEED);
    let adapted = base.valid().attach_lora(&lora, SEED);
    let model = match (variant, adapted) {
        (Fixed, Ok(adapted)) => adapted.train(),
        _ => base,
    };
    let setup = Setup {
        wants_adapter: true,
        ..setup()
    };
    reader::run(
        model,
        |index| sentences(SEED, index, VOCAB),
        setup,
        observer,
    )
}

/// Dropout that goes on in the evaluation; that does not.
pub(super) fn forgotten_eval_mode(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let device = Device::default();
    device.seed(SEED);
    let knobs = Knobs {
        dropout: 0.2,
        ..Knobs::default()
    };
    let source = |device| Teacher { seed: SEED, device };
    let points = source(device.clone())
        .batch(9000)
        .map_err(|source| TrainError::Batch {
            index: 9000,
            source,
        })?;
    let mut evaluator = HeldOut {
        points,
        drops: variant == Broken,
    };
    let hooks = TrainHooks {
        observer,
        evaluator: &mut evaluator,
        place: Place::Memory,
        world: None,
        setup: Setup::default(),
    };
    let device = device.autodiff();
    let model = Perceptron::init(knobs, SEED, &device);
    Ok(train_with(model, &mut source(device), &evaluated(40, 1e-2), hooks)?.1)
}

/// A limit of half of what the decoder needs; of twice as much. The plan is the run's own: the
/// process's memory is not touched.
pub(super) fn out_of_memory(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let model = decoder(VOCAB, SEED);
    // Weights, gradients and two moments, in f32.
    let planned = 16 * model.num_params() as u64;
    let limit = match variant {
        Broken => planned / 2,
        Fixed => planned * 2,
    };
    let setup = Setup {
        planned_bytes: Some(planned),
        memory_limit_bytes: Some(limit),
        ..setup()
    };
    reader::run(
        model,
        |index| sentences(SEED, index, VOCAB),
        setup,
        observer,
    )
}

/// A run that is stopped and goes on with another order of its data; with its own.
pub(super) fn resumed_with_other_data(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    struct StopsAt(usize, usize);
    impl Observer for StopsAt {
        fn on_step(&mut self, report: &crate::observer::StepReport) {
            self.1 = report.record.step;
        }
        fn is_cancelled(&self) -> bool {
            self.1 >= self.0
        }
    }
    let dir = tempfile::tempdir().map_err(|source| RunError::Write {
        path: std::env::temp_dir(),
        source,
    })?;
    let folder = RunFolder::open(dir.path())?;
    let config = TrainConfig {
        checkpoints: CheckpointConfig {
            every_n_steps: 10,
            n_kept: 1,
        },
        ..adamw(30, 3e-3)
    };
    let texts = |index: usize, order: usize| {
        let place = |row: usize| ((index * ROWS + row) * order % 1009) as u64;
        batch(
            (0..ROWS)
                .map(|row| sentence(SEED, place(row), VOCAB, LEN))
                .collect(),
        )
    };
    let part = |order: usize, observer: &mut dyn Observer| {
        let hooks = TrainHooks {
            observer,
            evaluator: &mut (),
            place: Place::Resume(&folder),
            world: None,
            setup: setup(),
        };
        let mut batches = Batches(|index| texts(index, order));
        Ok(train_with(decoder(VOCAB, SEED), &mut batches, &config, hooks)?.1)
    };
    let _: Result<TrainSummary, TrainError> = part(101, &mut StopsAt(12, 0));
    match variant {
        Broken => part(103, observer),
        Fixed => part(101, observer),
    }
}

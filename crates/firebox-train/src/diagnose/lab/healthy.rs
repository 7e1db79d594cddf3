//! Runs without a failure, in which no detector must speak up.

use burn::module::Module;
use firebox_model::LoraConfig;

use super::{
    Trial,
    numbers::{self, adamw},
    perceptron::{Activation, Knobs},
    reader::{self, Batches, Scores, VOCAB, decoder, pad, sentences, setup},
    trial,
};
use crate::{
    config::{OptimizerConfig, TrainConfig},
    error::TrainError,
    evaluation::EvaluationConfig,
    observer::{Observer, TrainSummary},
    schedule::{Decay, Schedule},
    sgd::SgdConfig,
    trainer::{Place, TrainHooks, train_with},
};

/// How many there are.
pub const N_HEALTHY: usize = 20;

/// Healthy run `number`, from 0 to [`N_HEALTHY`]: perceptrons, decoders and adapters of several
/// seeds, rates, schedules and optimizers.
pub fn healthy(number: usize) -> Trial {
    let seed = 100 + number as u64;
    trial(|observer| match number % 4 {
        0 => perceptron(number, seed, observer),
        1 => evaluated(seed, observer),
        2 => adapter(seed, observer),
        _ => padded(seed, observer),
    })
}

fn perceptron(
    number: usize,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let knobs = Knobs {
        n_layers: 2 + number / 4,
        activation: if number == 4 {
            Activation::Sigmoid
        } else {
            Activation::Relu
        },
        ..Knobs::default()
    };
    let schedule = Schedule {
        peak: 1e-2,
        n_warmup_steps: 10,
        decay: Decay::Cosine { floor: 0.0 },
    };
    let optimizer = match number % 8 {
        0 => adamw(1, 1.0).optimizer,
        _ => OptimizerConfig::Sgd(SgdConfig {
            momentum: 0.9,
            weight_decay: 0.0,
        }),
    };
    let config = TrainConfig {
        optimizer,
        max_grad_norm: Some(1.0),
        ..TrainConfig::new(120, schedule)
    };
    numbers::run(knobs, &config, seed, observer)
}

/// A decoder on fresh sentences, scored as it learns.
fn evaluated(seed: u64, observer: &mut dyn Observer) -> Result<TrainSummary, TrainError> {
    let config = TrainConfig {
        evaluation: Some(EvaluationConfig { every_n_steps: 10 }),
        n_accum_steps: 2,
        ..adamw(80, 3e-3)
    };
    let held_out = (7000..7004).map(|index| sentences(seed, index, VOCAB));
    let hooks = TrainHooks {
        observer,
        evaluator: &mut Scores(held_out.collect()),
        place: Place::Memory,
        world: None,
        setup: setup(),
    };
    let mut batches = Batches(|index| sentences(seed, index, VOCAB));
    Ok(train_with(decoder(VOCAB, seed), &mut batches, &config, hooks)?.1)
}

/// An adapter on a decoder that has learned another numbering of the words a little.
fn adapter(seed: u64, observer: &mut dyn Observer) -> Result<TrainSummary, TrainError> {
    let mut own = Batches(|index| sentences(seed, index, VOCAB));
    let base = decoder(VOCAB, seed);
    let (base, _) = crate::trainer::train(base, &mut own, &adamw(100, 5e-3), &mut ())?;
    let lora = LoraConfig::new(4, 8.0, vec!["*_proj".to_owned()]);
    let model = base.valid().attach_lora(&lora, seed);
    let model = model.map_err(|error| TrainError::Loss {
        index: 0,
        source: error.into(),
    })?;
    let model = model.train();
    let setup = crate::signals::Setup {
        is_pretrained: true,
        wants_adapter: true,
        ..setup()
    };
    let batches = move |index| sentences(seed, index + 500, VOCAB);
    reader::run_with(model, batches, setup, &adamw(60, 1e-3), observer)
}

/// A decoder on rows of different lengths.
fn padded(seed: u64, observer: &mut dyn Observer) -> Result<TrainSummary, TrainError> {
    let batches = move |index| pad(sentences(seed, index, VOCAB), false);
    reader::run_with(
        decoder(VOCAB, seed),
        batches,
        setup(),
        &adamw(60, 3e-3),
        observer,
    )
}

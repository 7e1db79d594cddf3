//! A small decoder, and sentences that it can learn.

use burn::{module::Module, tensor::Device};
use firebox_data::{Batch, IGNORE_LABEL};
use firebox_model::{Llama, LlamaConfig};
use firebox_tensor::random::CounterRng;

use super::numbers::adamw;
use crate::{
    batch::BatchSource,
    config::TrainConfig,
    error::{BatchError, LossError, TrainError},
    evaluation::{Evaluation, Evaluator},
    observer::{Observer, TrainSummary},
    signals::Setup,
    step::TrainStep,
    trainer::{Place, TrainHooks, train_with},
};

pub(super) const VOCAB: usize = 64;
pub(super) const LEN: usize = 24;
pub(super) const ROWS: usize = 4;
pub(super) const PAD: u32 = 0;

/// A decoder of two layers.
pub(super) fn decoder(vocab_size: usize, seed: u64) -> Llama {
    let config = LlamaConfig {
        max_seq_len: 64,
        ..LlamaConfig::new(vocab_size, 32, 64, 2, 2)
    };
    config.init(seed, &Device::default()).train()
}

/// A sentence of a language in which each word has three that may follow it.
pub(super) fn sentence(seed: u64, number: u64, vocab_size: usize, len: usize) -> Vec<u32> {
    let mut rng = CounterRng::new(seed, number);
    let n_words = (vocab_size - 1) as u64; // 0 is padding
    let mut word = (f64::from(rng.uniform()) * n_words as f64) as u64 % n_words;
    let mut ids = Vec::with_capacity(len);
    for _ in 0..len {
        ids.push(word as u32 + 1);
        let choice = (f64::from(rng.uniform()) * 3.0) as u64 % 3;
        word = (word * 5 + 7 + choice * 11) % n_words;
    }
    ids
}

/// Rows of one batch: ids, and labels on every token.
pub(super) fn batch(rows: Vec<Vec<u32>>) -> Batch {
    let labels = rows
        .iter()
        .map(|row| row.iter().map(|id| i64::from(*id)).collect())
        .collect();
    Batch {
        lengths: rows.iter().map(Vec::len).collect(),
        input_ids: rows,
        labels,
    }
}

/// The batch of a step: fresh sentences for ever.
pub(super) fn sentences(seed: u64, index: usize, vocab_size: usize) -> Batch {
    let numbers = (index * ROWS..(index + 1) * ROWS).map(|number| number as u64);
    batch(
        numbers
            .map(|number| sentence(seed, number, vocab_size, LEN))
            .collect(),
    )
}

/// Fills rows of different lengths with padding, labelled or not.
pub(super) fn pad(mut batch: Batch, labels_padding: bool) -> Batch {
    for row in 0..batch.input_ids.len() {
        let length = LEN - 5 * row;
        batch.lengths[row] = length;
        batch.input_ids[row][length..].fill(PAD);
        let label = if labels_padding {
            i64::from(PAD)
        } else {
            IGNORE_LABEL
        };
        batch.labels[row][length..].fill(label);
    }
    batch
}

/// Batches by a function of their number.
pub(super) struct Batches<F>(pub(super) F);

impl<F: FnMut(usize) -> Batch> BatchSource for Batches<F> {
    type Batch = Batch;

    fn batch(&mut self, index: usize) -> Result<Batch, BatchError> {
        Ok((self.0)(index))
    }
}

/// The mean loss of some batches.
pub(super) struct Scores(pub(super) Vec<Batch>);

impl<M: TrainStep<Batch>> Evaluator<M> for Scores {
    fn evaluate(&mut self, model: &M, _step: usize) -> Result<Evaluation, LossError> {
        let mut sum = 0.0;
        for batch in &self.0 {
            sum += model.loss(batch)?.value;
        }
        Ok(Evaluation {
            loss: sum / self.0.len() as f64,
            ..Evaluation::default()
        })
    }
}

/// Trains on batches by number, without evaluations.
pub(super) fn run<M: Module + TrainStep<Batch>>(
    model: M,
    batches: impl FnMut(usize) -> Batch,
    setup: Setup,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    run_with(model, batches, setup, &adamw(40, 3e-3), observer)
}

/// The same with other settings.
pub(super) fn run_with<M: Module + TrainStep<Batch>>(
    model: M,
    batches: impl FnMut(usize) -> Batch,
    setup: Setup,
    config: &TrainConfig,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let hooks = TrainHooks {
        observer,
        evaluator: &mut (),
        place: Place::Memory,
        world: None,
        setup,
    };
    Ok(train_with(model, &mut Batches(batches), config, hooks)?.1)
}

/// What is known of a fresh decoder.
pub(super) fn setup() -> Setup {
    Setup {
        precision: Some("f32".to_owned()),
        vocab_size: Some(VOCAB),
        tokenizer_vocab_size: Some(VOCAB),
        ..Setup::default()
    }
}

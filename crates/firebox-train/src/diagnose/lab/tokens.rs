//! Failures of what a decoder reads and predicts.

use burn::module::Module;
use firebox_data::{Batch, IGNORE_LABEL};
use firebox_model::Llama;

use super::{
    Broken, Fixed, Variant,
    numbers::adamw,
    reader::{self, LEN, ROWS, VOCAB, batch, decoder, pad, sentence, sentences, setup},
};
use crate::{
    config::TrainConfig,
    error::{LossError, TrainError},
    observer::{Observer, TrainSummary},
    signals::{BatchSignals, Leaks, Setup},
    step::{StepLoss, TrainStep},
    trainer::train,
};

const SEED: u64 = 11;

/// Labels that are shifted before the loss shifts them; labels as they are.
pub(super) fn labels_off_by_one(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let batches = move |index| {
        let mut batch = sentences(SEED, index, VOCAB);
        if variant == Broken {
            for labels in &mut batch.labels {
                labels.rotate_left(1);
                labels[LEN - 1] = IGNORE_LABEL;
            }
        }
        batch
    };
    reader::run(decoder(VOCAB, SEED), batches, setup(), observer)
}

/// Padding with its own id as label; with -100.
pub(super) fn loss_on_padding(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let batches = move |index| pad(sentences(SEED, index, VOCAB), variant == Broken);
    reader::run(decoder(VOCAB, SEED), batches, setup(), observer)
}

/// Conversations with loss on the questions; on the answers alone.
pub(super) fn loss_on_prompt(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let batches = move |index| {
        let mut batch = sentences(SEED, index, VOCAB);
        if variant == Fixed {
            for labels in &mut batch.labels {
                labels[..LEN / 2].fill(IGNORE_LABEL);
            }
        }
        batch
    };
    let setup = Setup {
        has_prompts: true,
        ..setup()
    };
    reader::run(decoder(VOCAB, SEED), batches, setup, observer)
}

/// A decoder that has learned the language reads it in another numbering; in its own.
pub(super) fn wrong_tokenizer(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let mut own = reader::Batches(|index| sentences(SEED, index, VOCAB));
    let (learned, _) = train(decoder(VOCAB, SEED), &mut own, &adamw(150, 5e-3), &mut ())?;
    let batches = move |index: usize| {
        let mut batch = sentences(SEED, index + 1000, VOCAB);
        if variant == Broken {
            let other = |id: u32| (id * 29 + 17) % (VOCAB as u32);
            for (ids, labels) in batch.input_ids.iter_mut().zip(&mut batch.labels) {
                ids.iter_mut().for_each(|id| *id = other(*id));
                *labels = ids.iter().map(|id| i64::from(*id)).collect();
            }
        }
        batch
    };
    let setup = Setup {
        is_pretrained: true,
        ..setup()
    };
    reader::run(learned.train(), batches, setup, observer)
}

/// A tokenizer with more tokens than the embedding has rows; with as many.
pub(super) fn embeddings_too_small(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let n_rows = match variant {
        Broken => VOCAB - 16,
        Fixed => VOCAB,
    };
    let setup = Setup {
        vocab_size: Some(n_rows),
        ..setup()
    };
    let batches = |index| sentences(SEED, index, VOCAB);
    reader::run(decoder(n_rows, SEED), batches, setup, observer)
}

/// Texts sorted by topic, each with words of its own; the same texts in a random order.
pub(super) fn no_shuffling(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    const N_STEPS: usize = 60;
    const N_TOPICS: usize = 5;
    let words = VOCAB / N_TOPICS;
    let text = move |place: usize| {
        let number = match variant {
            Broken => place,
            Fixed => place * 101 % (N_STEPS * ROWS), // Coprime: each text once.
        };
        let topic = (number * N_TOPICS / (N_STEPS * ROWS)) as u32;
        let ids = sentence(SEED, number as u64, words, LEN);
        ids.iter().map(|id| id + topic * words as u32).collect()
    };
    let batches = move |index: usize| batch((index * ROWS..(index + 1) * ROWS).map(text).collect());
    let config = adamw(N_STEPS, 3e-3);
    reader::run_with(decoder(VOCAB, SEED), batches, setup(), &config, observer)
}

/// A loss whose mean counts every row as one; as its tokens.
#[derive(Module, Debug)]
struct Weighted {
    model: Llama,
    #[module(skip)]
    counts_rows: bool,
}

impl TrainStep<Batch> for Weighted {
    fn loss(&self, batch: &Batch) -> Result<StepLoss, LossError> {
        let mut loss = TrainStep::loss(&self.model, batch)?;
        if self.counts_rows {
            loss.n_tokens = batch.input_ids.len();
        }
        Ok(loss)
    }

    fn describe(&self, batch: &Batch) -> Option<BatchSignals> {
        self.model.describe(batch)
    }

    fn leaks(&self, batch: &Batch) -> Result<Option<Leaks>, LossError> {
        self.model.leaks(batch)
    }
}

/// Short and long batches accumulated as if they were of one length; by their tokens.
pub(super) fn accumulation_weighting(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let model = Weighted {
        model: decoder(VOCAB, SEED),
        counts_rows: variant == Broken,
    };
    let batches = |index: usize| {
        let len = if index.is_multiple_of(2) { 6 } else { LEN };
        let rows = index * ROWS..(index + 1) * ROWS;
        batch(
            rows.map(|number| sentence(SEED, number as u64, VOCAB, len))
                .collect(),
        )
    };
    let config = TrainConfig {
        n_accum_steps: 2,
        ..adamw(30, 3e-3)
    };
    reader::run_with(model, batches, setup(), &config, observer)
}

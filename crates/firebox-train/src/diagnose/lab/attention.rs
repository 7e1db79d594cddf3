//! Failures of the attention mask, on one head of attention written out.

use burn::{
    module::{Module, Param},
    tensor::{
        Device, Int, Tensor, TensorData,
        activation::{log_softmax, softmax},
    },
};
use firebox_data::{Batch, IGNORE_LABEL};

use super::{
    Fixed, Variant,
    perceptron::normal,
    reader::{self, PAD, VOCAB, pad, sentences, setup},
};
use crate::{
    error::{LossError, TrainError},
    observer::{Observer, TrainSummary},
    signals::{BatchSignals, Leaks},
    step::{StepLoss, TrainStep},
};

const WIDTH: usize = 32;
const SEED: u64 = 13;

/// What a position must not look at.
#[derive(Debug, Clone, Copy)]
struct Masks {
    future: bool,
    padding: bool,
}

#[derive(Module, Debug)]
struct Head {
    embedding: Param<Tensor<2>>,
    query: Param<Tensor<2>>,
    key: Param<Tensor<2>>,
    value: Param<Tensor<2>>,
    output: Param<Tensor<2>>,
    #[module(skip)]
    masks: Masks,
}

impl Head {
    fn init(masks: Masks) -> Self {
        let device = Device::default().autodiff();
        let std = 1.0 / (WIDTH as f64).sqrt();
        let weight = |shape, stream| Param::from_tensor(normal(shape, std, SEED, stream, &device));
        Self {
            embedding: weight([VOCAB, WIDTH], 1),
            query: weight([WIDTH, WIDTH], 2),
            key: weight([WIDTH, WIDTH], 3),
            value: weight([WIDTH, WIDTH], 4),
            output: weight([WIDTH, VOCAB], 5),
            masks,
        }
    }

    /// Log-probabilities of the token after each position, `[seq, VOCAB]`.
    fn row(&self, ids: &[u32], length: usize) -> Tensor<2> {
        let device = self.embedding.device();
        let len = ids.len();
        let values: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(values, [len]), &device);
        let x = self.embedding.val().select(0, ids); // [seq, WIDTH]
        let q = x.clone().matmul(self.query.val()); // [seq, WIDTH]
        let k = x.clone().matmul(self.key.val()); // [seq, WIDTH]
        let scores = q.matmul(k.transpose()).div_scalar((WIDTH as f64).sqrt()); // [seq, seq]
        let hidden = |query: usize, key: usize| {
            (self.masks.future && key > query) || (self.masks.padding && key >= length)
        };
        let mask: Vec<f32> = (0..len * len)
            .map(|at| {
                if hidden(at / len, at % len) {
                    -1e9
                } else {
                    0.0
                }
            })
            .collect();
        let mask = Tensor::from_data(TensorData::new(mask, [len, len]), &device); // [seq, seq]
        let weights = softmax(scores + mask, 1); // [seq, seq]
        let seen = weights.matmul(x.clone().matmul(self.value.val())); // [seq, WIDTH]
        log_softmax((x + seen).matmul(self.output.val()), 1) // [seq, VOCAB]
    }

    /// Log-probabilities of the first tokens of a row, without gradients.
    fn scores(&self, ids: &[u32], length: usize, n: usize) -> Vec<f32> {
        let rows = self.row(ids, length).inner().narrow(0, 0, n); // [n, VOCAB]
        rows.into_data().try_into_vec().unwrap_or_default()
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, f64::max)
}

impl TrainStep<Batch> for Head {
    fn loss(&self, batch: &Batch) -> Result<StepLoss, LossError> {
        let mut terms = Vec::new();
        for ((ids, labels), length) in batch
            .input_ids
            .iter()
            .zip(&batch.labels)
            .zip(&batch.lengths)
        {
            let log_probs = self.row(ids, *length); // [seq, VOCAB]
            for (at, label) in labels.iter().enumerate().skip(1) {
                if *label != IGNORE_LABEL {
                    let label = usize::try_from(*label)?;
                    terms.push(
                        log_probs
                            .clone()
                            .slice([at - 1..at, label..label + 1])
                            .reshape([1]),
                    );
                }
            }
        }
        let n_tokens = terms.len();
        let mean = Tensor::cat(terms, 0).mean().neg(); // [1]
        Ok(StepLoss::from_mean(mean, n_tokens))
    }

    fn describe(&self, batch: &Batch) -> Option<BatchSignals> {
        let Batch {
            input_ids,
            labels,
            lengths,
        } = batch;
        Some(BatchSignals::count(
            input_ids,
            labels,
            lengths,
            IGNORE_LABEL,
        ))
    }

    fn leaks(&self, batch: &Batch) -> Result<Option<Leaks>, LossError> {
        // The shortest row has the most padding.
        let (length, ids) = batch
            .lengths
            .iter()
            .zip(&batch.input_ids)
            .min_by_key(|(length, _)| **length)
            .ok_or("expected a row, found none")?;
        let other = |id: u32| (id + 1) % VOCAB as u32;
        let (mut later, mut padded) = (ids.clone(), ids.clone());
        later[length - 1] = other(later[length - 1]);
        padded[*length..].iter_mut().for_each(|id| *id = other(PAD));
        let scores = |ids: &[u32], n| self.scores(ids, *length, n);
        Ok(Some(Leaks {
            future: largest_difference(&scores(ids, length - 1), &scores(&later, length - 1)),
            padding: largest_difference(&scores(ids, *length), &scores(&padded, *length)),
        }))
    }
}

/// Attention without the causal mask; with it.
pub(super) fn future_leak(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let masks = Masks {
        future: variant == Fixed,
        padding: true,
    };
    let batches = |index| sentences(SEED, index, VOCAB);
    reader::run(Head::init(masks), batches, setup(), observer)
}

/// An encoder that looks at padding; that does not.
pub(super) fn padding_mask_missing(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let masks = Masks {
        future: false,
        padding: variant == Fixed,
    };
    let batches = |index| pad(sentences(SEED, index, VOCAB), false);
    reader::run(Encoder::of(Head::init(masks)), batches, setup(), observer)
}

/// The head as an encoder, whose positions may see every real token.
#[derive(Module, Debug)]
struct Encoder {
    head: Head,
}

impl Encoder {
    fn of(head: Head) -> Self {
        Self { head }
    }
}

impl TrainStep<Batch> for Encoder {
    fn loss(&self, batch: &Batch) -> Result<StepLoss, LossError> {
        self.head.loss(batch)
    }

    fn describe(&self, batch: &Batch) -> Option<BatchSignals> {
        self.head.describe(batch)
    }

    fn leaks(&self, batch: &Batch) -> Result<Option<Leaks>, LossError> {
        let leaks = self.head.leaks(batch)?;
        // An encoder may look ahead.
        Ok(leaks.map(|leaks| Leaks {
            future: 0.0,
            ..leaks
        }))
    }
}

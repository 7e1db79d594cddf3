//! What is wrong before the first step, or with it.

use super::{Detector, Sign};
use crate::{diagnose::Failure, metrics::Metric, signals::Setup};

#[derive(Debug, Default)]
pub(super) struct Before {
    setup: Setup,
    has_started: bool,
}

/// A model that has learned something is far below the loss of a guess, `ln(vocab_size)`.
const GUESSES: f64 = 0.75;
/// In conversations at least this share of the tokens is not the assistant's.
const ALL_LABELS: f64 = 0.98;

impl Detector for Before {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let sign = |failure, first_sign, evidence| {
            Some(Sign {
                failure,
                first_sign,
                evidence,
            })
        };
        match metric {
            Metric::Setup { setup } => {
                self.setup = setup.clone();
                let (failure, evidence) = before(setup)?;
                sign(failure, 0, evidence)
            }
            Metric::Resumed {
                step,
                has_same_data: Some(false),
            } => {
                let evidence = format!("batch of step {step} is not the one that was seen before");
                sign(Failure::ResumedWithOtherData, *step, evidence)
            }
            Metric::Resumed { .. } => {
                self.has_started = true; // The first loss is of a model that has learned on.
                None
            }
            Metric::Step {
                record, signals, ..
            } => {
                let is_first = !std::mem::replace(&mut self.has_started, true);
                let guess = (self.setup.vocab_size.unwrap_or(0).max(1) as f64).ln();
                let guesses = guess > 0.0 && record.loss > GUESSES * guess;
                if is_first && self.setup.is_pretrained && guesses {
                    let evidence = format!(
                        "the first loss is {:.2}, and a guess has {guess:.2}",
                        record.loss
                    );
                    return sign(Failure::WrongTokenizer, record.step, evidence);
                }
                let batch = signals.batch.as_ref()?;
                // The first token of a row is never predicted.
                let n_predicted = batch.n_tokens.saturating_sub(batch.n_rows);
                let covers = batch.n_labels as f64 > ALL_LABELS * n_predicted as f64;
                if self.setup.has_prompts && covers && n_predicted > 0 {
                    let evidence = format!(
                        "the loss is over {} of {n_predicted} tokens of conversations",
                        batch.n_labels
                    );
                    return sign(Failure::LossOnPrompt, record.step, evidence);
                }
                None
            }
            _ => None,
        }
    }
}

fn before(setup: &Setup) -> Option<(Failure, String)> {
    if let (Some(model), Some(tokenizer)) = (setup.vocab_size, setup.tokenizer_vocab_size)
        && tokenizer > model
    {
        let text = format!("the tokenizer has {tokenizer} tokens, the embedding {model} rows");
        return Some((Failure::EmbeddingsTooSmall, text));
    }
    if setup.wants_adapter && setup.n_adapter_params == 0 {
        let text = "an adapter was asked for, and none of its parameters trains".to_owned();
        return Some((Failure::AdapterNotAttached, text));
    }
    if let Some(n @ 1..) = setup.n_shared_rows {
        let text = format!("{n} held-out rows are among the training rows");
        return Some((Failure::EvaluationOnTrainingData, text));
    }
    if let (Some(planned), Some(limit)) = (setup.planned_bytes, setup.memory_limit_bytes)
        && planned > limit
    {
        let text = format!("the run needs {planned} bytes, and {limit} may be used");
        return Some((Failure::OutOfMemory, text));
    }
    None
}

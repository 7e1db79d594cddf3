//! Looking at the model while it trains.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::LossError;

/// Scores a model that is being trained. `()` never does.
pub trait Evaluator<M> {
    /// Scores the model as it is after `step`, from 1. The model does not track gradients.
    ///
    /// # Errors
    /// When the held-out data does not fit the model; the run ends then.
    fn evaluate(&mut self, model: &M, step: usize) -> Result<Evaluation, LossError>;
}

/// For runs that are not evaluated: a config that asks for evaluations fails at the first.
impl<M> Evaluator<M> for () {
    fn evaluate(&mut self, _model: &M, _step: usize) -> Result<Evaluation, LossError> {
        Err("expected held-out data to evaluate on, found none \
             (hint: give some, or leave `evaluation` out of the config)"
            .into())
    }
}

/// What a look at the model found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss on held-out data; lower is better. Early stopping and the best checkpoint go by it.
    pub loss: f64,
    /// Further figures by name, such as `accuracy`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// Texts that the model wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// A text that the model went on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What was given.
    pub prompt: String,
    /// What came.
    pub text: String,
}

/// When to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// After every so many steps, and after the last.
    pub every_n_steps: usize,
}

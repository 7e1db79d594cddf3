//! Direct preference optimization: the better answer made likelier than the worse one, without a
//! reward model.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use firebox_data::{Example, PreferencePair};
use firebox_model::{Llama, Loss, ModelError};
use serde::{Deserialize, Serialize};

use crate::{
    error::LossError,
    step::{StepLoss, TrainStep},
};

/// Settings of [`Dpo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpoConfig {
    /// How strongly the model is held to its reference; 0.1 is usual.
    pub beta: f64,
}

/// A decoder with an adapter that learns preferences; its reference is itself with the adapter left
/// out, so that no second model is held.
///
/// ```text
/// z = beta * ((log p(chosen) - log ref(chosen)) - (log p(rejected) - log ref(rejected)))
/// loss = mean of -log sigmoid(z)
/// ```
///
/// where a log-probability is the sum over the answer's tokens. Every answer runs alone, so that a
/// pair takes four forward passes and two backward ones.
///
/// Source: Rafailov et al. (2023), equation 7, <https://arxiv.org/abs/2305.18290>.
#[derive(Module, Debug)]
pub struct Dpo {
    /// The decoder that learns.
    pub model: Llama,
    #[module(skip)]
    config: Arc<DpoConfig>,
}

impl DpoConfig {
    /// The objective over a model with an adapter.
    ///
    /// # Errors
    ///
    /// When the model has none, and so no reference, or trains modules whole.
    pub fn init(&self, model: Llama) -> Result<Dpo, ModelError> {
        model.without_adapter()?;
        Ok(Dpo {
            model,
            config: Arc::new(*self),
        })
    }
}

/// How a model does on preferences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DpoReport {
    /// The mean loss, in nats; `ln 2` for a model that is its reference.
    pub loss: f64,
    /// The share of pairs whose better answer has gained more than the worse one, from 0 to 1.
    pub accuracy: f64,
    /// By how much, in nats times beta.
    pub margin: f64,
}

/// One pair under the model and its reference.
struct Compared {
    /// `log p(chosen) - log ref(chosen)`, and the same of the rejected answer.
    gains: [f64; 2],
    losses: [Loss; 2],
}

impl Dpo {
    fn compare(&self, reference: &Llama, pair: &PreferencePair) -> Result<Compared, ModelError> {
        let rows = [&pair.chosen, &pair.rejected];
        let log_prob = |loss: &Loss| -loss.mean * loss.n_tokens as f64;
        let loss = |model: &Llama, row: &Example| {
            let (ids, labels) = (&row.input_ids, &row.labels);
            model.loss(std::slice::from_ref(ids), std::slice::from_ref(labels))
        };
        let [chosen, rejected] = [loss(&self.model, rows[0])?, loss(&self.model, rows[1])?];
        let gains = [
            log_prob(&chosen) - log_prob(&loss(reference, rows[0])?),
            log_prob(&rejected) - log_prob(&loss(reference, rows[1])?),
        ];
        Ok(Compared {
            gains,
            losses: [chosen, rejected],
        })
    }

    /// How the model does on pairs.
    ///
    /// # Errors
    ///
    /// When a row does not fit the model.
    pub fn evaluate(&self, pairs: &[PreferencePair]) -> Result<DpoReport, ModelError> {
        let reference = self.model.without_adapter()?;
        let n_pairs = pairs.len().max(1) as f64;
        let (mut n_right, mut margin, mut loss) = (0, 0.0, 0.0);
        for pair in pairs {
            let [chosen, rejected] = self.compare(&reference, pair)?.gains;
            let z = self.config.beta * (chosen - rejected);
            n_right += usize::from(z > 0.0);
            margin += z / n_pairs;
            loss += softplus(-z) / n_pairs;
        }
        Ok(DpoReport {
            loss,
            accuracy: n_right as f64 / n_pairs,
            margin,
        })
    }
}

impl TrainStep<Vec<PreferencePair>> for Dpo {
    fn loss(&self, pairs: &Vec<PreferencePair>) -> Result<StepLoss, LossError> {
        let reference = self.model.without_adapter()?;
        let n_pairs = pairs.len() as f64;
        let (mut value, mut n_input_tokens) = (0.0, 0);
        let mut backward = Tensor::zeros([1], &self.model.device().autodiff());
        for pair in pairs {
            let compared = self.compare(&reference, pair)?;
            let beta = self.config.beta;
            let z = beta * (compared.gains[0] - compared.gains[1]);
            value += softplus(-z) / n_pairs;
            // d loss / d log p is -beta (1 - sigmoid(z)) for the chosen answer, the opposite for the
            // rejected one; a loss's surrogate has the gradient of -log p / n_tokens.
            let push = beta / (1.0 + z.exp()) / n_pairs;
            let [chosen, rejected] = compared.losses;
            for (sign, loss) in [(1.0, chosen), (-1.0, rejected)] {
                let weight = sign * push * loss.n_tokens as f64;
                backward = backward + loss.surrogate.mul_scalar(weight);
            }
            n_input_tokens += pair.chosen.input_ids.len() + pair.rejected.input_ids.len();
        }
        let step = StepLoss::new(value, pairs.len(), backward);
        Ok(step.with_input_tokens(n_input_tokens))
    }

    fn goes_backward_in_loss(&self) -> bool {
        self.model.has_activation_checkpointing()
    }

    fn set_batch_index(&self, index: u64) {
        self.model.set_dropout_step(index);
    }

    fn n_fixed_values(&self) -> usize {
        self.model.n_fixed_weights()
    }
}

/// `log(1 + e^x)`, also where `e^x` is infinite.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(all(test, feature = "cpu"))]
#[expect(clippy::unwrap_used, reason = "helpers of tests")]
mod tests {
    use super::*;
    use crate::{config::TrainConfig, schedule::Schedule, trainer::train};
    use burn::{module::Param, tensor::Device};
    use firebox_data::IGNORE_LABEL;
    use firebox_model::{LlamaConfig, LoraConfig};

    fn model() -> Llama {
        let config = LlamaConfig {
            max_seq_len: 32,
            ..LlamaConfig::new(40, 32, 64, 2, 2)
        };
        let model = config.init(3, &Device::default());
        model
            .attach_lora(&LoraConfig::new(4, 8.0, ["*_proj"]), 1)
            .unwrap()
            .train()
    }

    /// 7 is always better than 28.
    fn pairs() -> Vec<PreferencePair> {
        let pair = |start: u32| {
            let row = |answer: u32| {
                let mut example = Example::from_ids(vec![start, start + 1, answer, answer + 1]);
                example.labels[..2].fill(IGNORE_LABEL);
                example
            };
            PreferencePair {
                chosen: row(7),
                rejected: row(28),
            }
        };
        (10..18).map(pair).collect()
    }

    #[test]
    fn an_untrained_adapter_has_no_preference_and_learns_the_given_one() {
        let dpo = DpoConfig { beta: 0.5 }.init(model().train()).unwrap();
        let config = TrainConfig::new(150, Schedule::constant(2e-2));
        let (dpo, summary) = train(dpo, &mut vec![pairs()], &config, &mut ()).unwrap();
        let first = summary.first_loss().unwrap();
        assert!((first - std::f64::consts::LN_2).abs() < 1e-6, "{first}");
        assert!(summary.last_loss() < Some(0.4), "{:?}", summary.last_loss());
        let report = dpo.evaluate(&pairs()).unwrap();
        assert_eq!(report.accuracy, 1.0);
        // After the last step: no more than what that step began with.
        assert!(Some(report.loss) < summary.last_loss() && report.margin > 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let pairs = pairs();
        let nudge = |model: Llama, by: f32| -> Llama {
            let mut model = model;
            let lora = model.layers[0].self_attn.q_proj.lora.as_mut().unwrap();
            lora.lora_b = Param::from_tensor(lora.lora_b.val().inner() + by);
            model
        };
        // Away from zero, where the gradient of the first factor vanishes.
        let start = nudge(model(), 0.05);
        let dpo = |model: Llama| DpoConfig { beta: 0.3 }.init(model.train()).unwrap();
        let value = |by| dpo(nudge(start.clone(), by)).loss(&pairs).unwrap().value;
        let step = 1e-2;
        let expected = (value(step) - value(-step)) / (2.0 * f64::from(step));
        let dpo = dpo(start.clone());
        let mut gradients = dpo.loss(&pairs).unwrap().backward.backward();
        let mut gradients = crate::ParamGradients::collect(&mut gradients, &dpo);
        let lora = dpo.model.layers[0].self_attn.q_proj.lora.as_ref().unwrap();
        let gradient = gradients.remove(lora.lora_b.id).unwrap();
        let found: f64 = gradient.sum().into_scalar();
        // Central differences in f32 have three digits here.
        assert!(
            (found - expected).abs() < 2e-2 * expected.abs().max(1e-3),
            "{found} {expected}"
        );
    }

    #[test]
    fn a_model_without_an_adapter_has_no_reference() {
        let error = DpoConfig { beta: 0.1 }.init(model().into_merged().unwrap());
        assert!(error.unwrap_err().to_string().contains("adapter"));
    }
}

//! Adafactor: the second moment of a matrix as one row and one column.

use std::collections::HashMap;

use burn::{
    module::ParamId,
    tensor::{DType, Device, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    optimizer::{Optimizer, ParamUpdate},
    optimizer_state::{ParamState, StateError},
};

/// Names in a checkpoint: of a matrix, and of anything else.
const ROWS: &str = "row_variance";
const COLUMNS: &str = "column_variance";
const VARIANCE: &str = "variance";

/// Settings of [`Adafactor`]; the defaults are PyTorch's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdafactorConfig {
    /// The second moment's decay at step `t` is `1 - t^beta_2_decay`; below 0. -0.8 in the paper.
    pub beta_2_decay: f64,
    /// The least size of a parameter in `lr * size`, so that one at zero can start. 1e-3 in the
    /// paper.
    pub min_size: f64,
    /// Largest root mean square of an update. 1 in the paper.
    pub clip_threshold: f64,
    /// Share of the value, times the learning rate, that every step takes away.
    pub weight_decay: f64,
}

impl Default for AdafactorConfig {
    fn default() -> Self {
        Self {
            beta_2_decay: -0.8,
            min_size: 1e-3,
            clip_threshold: 1.0,
            weight_decay: 0.0,
        }
    }
}

impl AdafactorConfig {
    /// An optimizer without any state yet.
    pub fn init(&self) -> Adafactor {
        Adafactor {
            config: self.clone(),
            moments: HashMap::new(),
        }
    }
}

/// Adafactor without a first moment, as `torch.optim.Adafactor` defines it, in f32.
///
/// ```text
/// rho = min(lr, 1/sqrt(t)),  alpha = max(min_size, rms(p)) * rho,  b = t^beta_2_decay
/// p = p * (1 - lr * weight_decay)
/// r = r + b * (mean of g^2 over each row    - r)
/// c = c + b * (mean of g^2 over each column - c)
/// u = g / sqrt(r c / mean(r))                       (a vector keeps all of v: u = g / sqrt(v))
/// p = p - alpha * u / max(1, rms(u) / clip_threshold)
/// ```
///
/// A matrix `[rows, columns]` takes `rows + columns` values of state. The last two axes of larger
/// tensors are the matrix. Works on every device through ordinary tensor operations.
///
/// Source: Shazeer and Stern (2018), algorithms 4 and 5, <https://arxiv.org/abs/1804.04235>.
#[derive(Debug)]
pub struct Adafactor {
    config: AdafactorConfig,
    moments: HashMap<ParamId, Moments>,
}

#[derive(Debug)]
struct Moments {
    n_updates: u64,
    variance: Variance,
}

#[derive(Debug)]
enum Variance {
    /// `[batch * rows]` and `[batch * columns]`.
    Factored(Box<[Tensor<1>; 2]>),
    /// `[n_elements]`.
    Whole(Box<Tensor<1>>),
}

/// `[batch, rows, columns]` of a parameter of two axes and more.
fn as_matrices(shape: &[usize]) -> Option<[usize; 3]> {
    let (batch, [rows, columns]) = shape.split_last_chunk::<2>()?;
    Some([batch.iter().product(), *rows, *columns])
}

impl Variance {
    fn zeros(shape: &[usize], device: &Device) -> Self {
        let zeros = |len: usize| Tensor::zeros([len], (device, DType::F32));
        match as_matrices(shape) {
            Some([batch, rows, columns]) => {
                Self::Factored(Box::new([zeros(batch * rows), zeros(batch * columns)]))
            }
            None => Self::Whole(Box::new(zeros(shape.iter().product()))),
        }
    }

    /// Takes in a gradient, and gives the estimate of its square, `[n_elements]`.
    fn update(self, shape: &[usize], gradient: &Tensor<1>, share: f64) -> (Self, Tensor<1>) {
        let squares = gradient.clone().powi_scalar(2); // [n_elements]
        let lerp = |old: Tensor<1>, new: Tensor<1>| old.clone() + (new - old).mul_scalar(share);
        match (self, as_matrices(shape)) {
            (Self::Factored(factors), Some([n, n_rows, n_columns])) => {
                let [rows, columns] = *factors;
                let squares = squares.reshape([n, n_rows, n_columns]);
                let rows = lerp(rows, squares.clone().mean_dim(2).reshape([-1])); // [n * rows]
                let columns = lerp(columns, squares.mean_dim(1).reshape([-1])); // [n * columns]
                let row = rows.clone().reshape([n, n_rows, 1]);
                let column = columns.clone().reshape([n, 1, n_columns]);
                let mean = row.clone().mean_dim(1).clamp_min(f64::from(f32::EPSILON)); // [n, 1, 1]
                let estimate = row * column / mean; // [n, rows, columns]
                (
                    Self::Factored(Box::new([rows, columns])),
                    estimate.reshape([-1]),
                )
            }
            (Self::Whole(variance), _) => {
                let variance = lerp(*variance, squares);
                (Self::Whole(Box::new(variance.clone())), variance)
            }
            (Self::Factored(_), None) => unreachable!("a vector's variance is whole"),
        }
    }
}

impl Optimizer for Adafactor {
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let config = &self.config;
        let moments = self.moments.remove(&param.id).unwrap_or_else(|| Moments {
            n_updates: 0,
            variance: Variance::zeros(param.shape, &value.device()),
        });
        let n_updates = moments.n_updates + 1;
        let step = n_updates as f64;
        let share = step.powf(config.beta_2_decay);
        let rho = param.learning_rate.min(1.0 / step.sqrt());
        let alpha = rms(&value).max(config.min_size) * rho;
        let decay = param.weight_decay.unwrap_or(config.weight_decay);
        let value = value.mul_scalar(1.0 - param.learning_rate * decay);

        let (variance, estimate) = moments.variance.update(param.shape, &gradient, share);
        let floor = f64::from(f32::EPSILON) * f64::from(f32::EPSILON);
        let update = gradient / estimate.clamp_min(floor).sqrt(); // [n_elements]
        let damping = (rms(&update) / config.clip_threshold).max(1.0);
        self.moments.insert(
            param.id,
            Moments {
                n_updates,
                variance,
            },
        );
        value - update.mul_scalar(alpha / damping)
    }

    fn state(&self, id: ParamId) -> Option<ParamState> {
        let moments = self.moments.get(&id)?;
        let n_updates = moments.n_updates;
        Some(match &moments.variance {
            Variance::Factored(factors) => {
                let [rows, columns] = &**factors;
                ParamState::of_tensors(n_updates, &[(ROWS, rows), (COLUMNS, columns)])
            }
            Variance::Whole(variance) => ParamState::of_tensors(n_updates, &[(VARIANCE, variance)]),
        })
    }

    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError> {
        let n_updates = state.n_updates;
        let variance = if state.tensors.contains_key(VARIANCE) {
            let [variance] = state.into_tensors([VARIANCE], device)?;
            Variance::Whole(Box::new(variance))
        } else {
            let [rows, columns] = state.into_tensors([ROWS, COLUMNS], device)?;
            Variance::Factored(Box::new([rows, columns]))
        };
        let moments = Moments {
            n_updates,
            variance,
        };
        self.moments.insert(id, moments);
        Ok(())
    }
}

/// The root mean square of all elements.
fn rms(x: &Tensor<1>) -> f64 {
    let mean = x.clone().powi_scalar(2).mean();
    mean.into_scalar::<f64>().sqrt()
}

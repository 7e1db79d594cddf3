//! A slow copy of the parameters, for evaluation.

use std::collections::BTreeMap;

use burn::module::Module;
use serde::{Deserialize, Serialize};

use crate::module_params::{for_each_value, replace_values};

/// Settings of [`Ema`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the copy that stays at each step, in `[0, 1)`; 0.999 is usual.
    pub decay: f64,
}

/// The exponential moving average of a module's trainable parameters, on the host in f32.
///
/// ```text
/// a = a + (1 - min(decay, (1 + t) / (10 + t))) * (p - a)
/// ```
///
/// where `t` counts the steps, so that the first ones do not weigh for ever.
///
/// Source: Polyak and Juditsky (1992), <https://doi.org/10.1137/0330046>; the warm-up is
/// TensorFlow's `ExponentialMovingAverage`'s.
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    config: EmaConfig,
    n_updates: u64,
    averages: BTreeMap<String, Vec<f32>>,
}

impl EmaConfig {
    /// The average that begins at the module's values.
    pub fn init<M: Module>(&self, module: &M) -> Ema {
        Ema {
            config: *self,
            n_updates: 0,
            averages: values(module),
        }
    }
}

fn values<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    let done: Result<(), std::convert::Infallible> = for_each_value(module, |path, values| {
        all.insert(path, values);
        Ok(())
    });
    let Ok(()) = done;
    all
}

impl Ema {
    /// Takes in the module as a step has left it.
    pub fn update<M: Module>(&mut self, module: &M) {
        self.n_updates += 1;
        let step = self.n_updates as f64;
        let keep = self.config.decay.min((1.0 + step) / (10.0 + step));
        let share = (1.0 - keep) as f32;
        for (path, values) in values(module) {
            if let Some(average) = self.averages.get_mut(&path) {
                for (a, p) in average.iter_mut().zip(values) {
                    *a += share * (p - *a);
                }
            }
        }
    }

    /// The module with the averages in place of its values.
    pub fn apply<M: Module>(&self, module: M) -> M {
        let averaged: Result<M, std::convert::Infallible> =
            replace_values(module, |path, shape| {
                let zeros = || vec![0.0; shape.iter().product()];
                Ok(self.averages.get(path).cloned().unwrap_or_else(zeros))
            });
        let Ok(module) = averaged;
        module
    }

    /// Steps so far, and every average by its parameter's path.
    pub fn state(&self) -> (u64, &BTreeMap<String, Vec<f32>>) {
        (self.n_updates, &self.averages)
    }

    /// Goes on from a state.
    pub fn restore(&mut self, n_updates: u64, averages: BTreeMap<String, Vec<f32>>) {
        (self.n_updates, self.averages) = (n_updates, averages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{
        module::Param,
        tensor::{Device, Tensor},
    };

    #[derive(Module, Debug)]
    struct One {
        weight: Param<Tensor<1>>,
    }

    fn one(value: f32) -> One {
        One {
            weight: Param::from_tensor(Tensor::from_floats([value], &Device::default().autodiff())),
        }
    }

    #[test]
    fn the_average_follows_and_is_put_in_place() {
        let mut ema = EmaConfig { decay: 0.5 }.init(&one(0.0));
        // 2/11 of the start stays, then 1/4, and from then on what the warm-up allows.
        ema.update(&one(11.0));
        let first = ema.apply(one(7.0)).weight.val().into_scalar::<f32>();
        assert!((first - 9.0).abs() < 1e-5, "{first}");
        ema.update(&one(5.0));
        let second = ema.apply(one(7.0)).weight.val().into_scalar::<f32>();
        assert!((second - 6.0).abs() < 1e-5, "{second}");
        let mut again = EmaConfig { decay: 0.5 }.init(&one(0.0));
        let (n_updates, averages) = ema.state();
        again.restore(n_updates, averages.clone());
        assert_eq!(again, ema);
    }
}

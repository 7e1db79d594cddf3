//! What a run does otherwise where other ranks train with it.

use std::path::Path;

use burn::module::Module;
use serde_json::Value;

use crate::{
    batch::BatchSource,
    checkpoint::StateSource,
    distributed::{Reducer, SharedStates, WorldError},
    error::TrainError,
    gradients::ParamGradients,
    module_params::replace_values,
    observer::Observer,
    optimizer::Optimizer,
    run_error::RunError,
    run_folder::RunFolder,
    step::TrainStep,
};

use super::Session;

impl<'a, M, S> Session<'a, M, S>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    /// Of several ranks, the first one writes, evaluates and decides.
    pub(super) fn leads(&self) -> bool {
        let world = self.reducer.as_ref().map(|reducer| reducer.world);
        world.is_none_or(|world| world.rank() == 0)
    }

    /// The folder that this rank writes into.
    pub(super) fn own_folder(&self) -> Option<&'a RunFolder> {
        self.hooks.place.folder().filter(|_| self.leads())
    }

    /// Updates the parameters that are this rank's, and hears of the others.
    pub(super) fn step_optimizer(
        &mut self,
        model: M,
        gradients: &mut ParamGradients,
        learning_rate: f64,
    ) -> Result<M, TrainError> {
        if let Some(shares) = &self.shares {
            gradients.keep(|id| shares.is_own(id));
        }
        let model = self
            .optimizer
            .step_groups(model, gradients, learning_rate, &self.groups);
        match &self.shares {
            Some(shares) => shares.exchange(model),
            None => Ok(model),
        }
    }

    /// The optimizer's states for a checkpoint.
    pub(super) fn states(&self) -> Box<dyn StateSource + '_> {
        let optimizer = &*self.optimizer;
        match &self.shares {
            Some(shares) => Box::new(SharedStates { shares, optimizer }),
            None => Box::new(optimizer),
        }
    }

    /// What this rank has for the checkpoint that the first one writes.
    pub(super) fn give_states(&mut self) -> Result<(), TrainError> {
        match &self.shares {
            Some(shares) if !self.leads() && !self.is_left => {
                shares.give_states(&*self.optimizer)?;
            }
            _ => {}
        }
        self.saved = Some(self.n_done);
        Ok(())
    }

    /// The state of the source, and of those of the other ranks.
    pub(super) fn all_positions(&self) -> Result<Value, TrainError> {
        let own = self.batches.state();
        let Some(reducer) = self.reducer.as_ref().filter(|_| !own.is_null()) else {
            return Ok(own);
        };
        let is_cancelled = || self.hooks.observer.is_cancelled();
        let texts = reducer.world.gather(&own.to_string(), &is_cancelled)?;
        let parsed = texts
            .iter()
            .map(|text| serde_json::from_str(text).unwrap_or_default());
        Ok(Value::Array(parsed.collect()))
    }

    /// Whether a rank was told to end: then all do, after the same step.
    pub(super) fn any_cancelled(&mut self) -> Result<bool, TrainError> {
        let is_cancelled = || self.hooks.observer.is_cancelled();
        let Some(reducer) = &self.reducer else {
            return Ok(false);
        };
        let own = f64::from(u8::from(is_cancelled()));
        let answer = reducer.world.sum(vec![own], &is_cancelled);
        self.is_left |= answer == Err(WorldError::Cancelled);
        match answer {
            Ok(n_cancelled) => Ok(n_cancelled[0] > 0.0),
            Err(WorldError::Cancelled) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// What the first rank finds, on every rank.
    pub(super) fn lead_evaluates(&mut self, model: &M) -> Result<(bool, bool), TrainError> {
        let own = match self.leads() {
            true => self.evaluate(model)?,
            false => (false, false),
        };
        let Some(reducer) = &self.reducer else {
            return Ok(own);
        };
        let is_cancelled = || self.hooks.observer.is_cancelled();
        let bits = [own.0, own.1].map(|is| f64::from(u8::from(is)));
        let answer = reducer.world.sum(bits.to_vec(), &is_cancelled);
        self.is_left |= answer == Err(WorldError::Cancelled);
        match answer {
            Ok(bits) => Ok((bits[0] > 0.0, bits[1] > 0.0)),
            // The next step ends the run.
            Err(WorldError::Cancelled) => Ok((own.0, false)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The first rank's parameters on every rank.
pub(super) fn same_start<M: Module>(
    reducer: &Reducer<'_>,
    model: M,
    observer: &dyn Observer,
) -> Result<M, TrainError> {
    let mut firsts = reducer.first_ranks(&model, &|| observer.is_cancelled())?;
    replace_values(model, |path, _| {
        Ok::<_, TrainError>(firsts.remove(path).unwrap_or_default())
    })
}

/// A share of two is not a share of four.
pub(super) fn same_ranks(
    path: &Path,
    expected: Option<usize>,
    found: Option<usize>,
) -> Result<(), RunError> {
    let (expected, found) = (expected.unwrap_or(1), found.unwrap_or(1));
    match expected == found {
        true => Ok(()),
        false => Err(RunError::ConfigDiffers {
            path: path.to_owned(),
            field: "number of ranks".to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }),
    }
}

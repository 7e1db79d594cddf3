//! The optimizer's state in shares: every rank keeps that of its own parameters, updates those, and
//! hears the new values of the others.
//!
//! Source: Rajbhandari et al. (2020), "ZeRO", section 5.1 (stage 1), <https://arxiv.org/abs/1910.02054>.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ParamId};
use firebox_checkpoint::{Dtype, StateValues};

use super::world::{World, WorldError};
use crate::{
    checkpoint::{StateShape, StateSource},
    error::TrainError,
    module_params::{TrainableParam, for_each_value, replace_values},
    optimizer::Optimizer,
    optimizer_state::{ParamState, StateTensor},
};

/// Once every rank has summed its gradients, no rank is far behind: nothing stops these exchanges but
/// the loss of a rank.
const NOT_CANCELLED: &dyn Fn() -> bool = &|| false;

/// Which rank updates which parameter.
#[derive(Debug)]
pub(crate) struct Shares<'a> {
    world: &'a World,
    owners: HashMap<ParamId, usize>,
    /// In the module's order.
    params: Vec<TrainableParam>,
    /// Whether the first rank writes checkpoints.
    are_saved: bool,
}

impl<'a> Shares<'a> {
    /// The largest parameter first, to the rank that has least. `is_saved` counts on the first rank.
    pub(crate) fn new(
        world: &'a World,
        params: &[TrainableParam],
        is_saved: bool,
    ) -> Result<Self, WorldError> {
        let len = |param: &TrainableParam| param.shape.iter().product::<usize>();
        let mut by_size: Vec<&TrainableParam> = params.iter().collect();
        by_size.sort_by_key(|param| std::cmp::Reverse(len(param))); // Stable: the same on every rank.
        let mut loads = vec![0; world.n_ranks()];
        let mut owners = HashMap::new();
        for param in by_size {
            let least = (0..loads.len())
                .min_by_key(|rank| loads[*rank])
                .unwrap_or(0);
            loads[least] += len(param);
            owners.insert(param.id, least);
        }
        let is_saved = world.broadcast(0, vec![f32::from(u8::from(is_saved))]);
        let is_saved = world.wait(&is_saved, NOT_CANCELLED)?;
        Ok(Self {
            world,
            owners,
            params: params.to_vec(),
            are_saved: is_saved == [1.0],
        })
    }

    fn owner(&self, id: ParamId) -> usize {
        self.owners.get(&id).copied().unwrap_or(0)
    }

    pub(crate) fn is_own(&self, id: ParamId) -> bool {
        self.owner(id) == self.world.rank()
    }

    /// Every parameter as its owner has it, one message an owner.
    pub(crate) fn exchange<M: Module>(&self, model: M) -> Result<M, TrainError> {
        let by_path: HashMap<&str, usize> = self
            .params
            .iter()
            .map(|param| (param.path.as_str(), self.owner(param.id)))
            .collect();
        let mut own = Vec::new();
        for_each_value(&model, |path, values| {
            if by_path.get(path.as_str()) == Some(&self.world.rank()) {
                own.extend(values);
            }
            Ok::<_, TrainError>(())
        })?;
        let mut lens = vec![0; self.world.n_ranks()];
        for param in &self.params {
            lens[self.owner(param.id)] += param.shape.iter().product::<usize>();
        }
        let mut of_ranks = Vec::new();
        for (owner, len) in lens.into_iter().enumerate() {
            let values = match owner == self.world.rank() {
                true => std::mem::take(&mut own),
                false => vec![0.0; len],
            };
            of_ranks.push(self.broadcast(owner, values)?.into_iter());
        }
        replace_values(model, |path, shape| {
            let owner = by_path.get(path).copied().unwrap_or(0);
            let len = shape.iter().product();
            Ok(of_ranks[owner].by_ref().take(len).collect())
        })
    }

    fn broadcast(&self, owner: usize, values: Vec<f32>) -> Result<Vec<f32>, WorldError> {
        let pending = self.world.broadcast(owner, values);
        self.world.wait(&pending, NOT_CANCELLED)
    }

    /// What every rank keeps, by path: the same answer on all of them.
    fn all_shapes(
        &self,
        optimizer: &dyn Optimizer,
    ) -> Result<BTreeMap<String, StateShape>, TrainError> {
        let mut own = BTreeMap::new();
        for param in self.params.iter().filter(|param| self.is_own(param.id)) {
            if let Some(state) = optimizer.state(param.id) {
                own.insert(param.path.clone(), StateShape::of(&state));
            }
        }
        let text = serde_json::to_string(&own).expect("plain data has a JSON form");
        let mut all = BTreeMap::new();
        for text in self.world.gather(&text, NOT_CANCELLED)? {
            let of_rank: BTreeMap<String, StateShape> = serde_json::from_str(&text)
                .map_err(|error| WorldError::OtherBuild(error.to_string()))?;
            all.extend(of_rank);
        }
        Ok(all)
    }

    /// One parameter's state, from its owner to all ranks.
    fn pass(
        &self,
        param: &TrainableParam,
        shape: &StateShape,
        optimizer: &dyn Optimizer,
    ) -> Result<ParamState, TrainError> {
        let mut state = match self.is_own(param.id) {
            true => optimizer.state(param.id).unwrap_or_default(),
            false => ParamState::default(),
        };
        let owner = self.owner(param.id);
        if owner == 0 {
            return Ok(state); // The first rank, which writes, has it.
        }
        for (name, (dtype, len)) in &shape.tensors {
            let own = state.tensors.remove(name);
            let values = self.broadcast(owner, own.map_or_else(|| vec![0.0; *len], as_floats))?;
            let values = match dtype {
                Dtype::U8 => StateValues::U8(values.iter().map(|code| *code as u8).collect()),
                _ => StateValues::F32(values),
            };
            state.tensors.insert(name.clone(), values);
        }
        state.n_updates = shape.n_updates;
        Ok(state)
    }

    /// What every rank but the first does while that writes a checkpoint.
    pub(crate) fn give_states(&self, optimizer: &dyn Optimizer) -> Result<(), TrainError> {
        if !self.are_saved {
            return Ok(());
        }
        let shapes = self.all_shapes(optimizer)?;
        for param in &self.params {
            if let Some(shape) = shapes.get(&param.path) {
                self.pass(param, shape, optimizer)?;
            }
        }
        Ok(())
    }
}

/// The states of all ranks, one parameter at a time, for the first rank's checkpoint. The other ranks
/// call [`Shares::give_states`] meanwhile.
pub(crate) struct SharedStates<'a> {
    pub(crate) shares: &'a Shares<'a>,
    pub(crate) optimizer: &'a dyn Optimizer,
}

impl StateSource for SharedStates<'_> {
    fn shapes(
        &self,
        _params: &[TrainableParam],
    ) -> Result<BTreeMap<String, StateShape>, TrainError> {
        self.shares.all_shapes(self.optimizer)
    }

    fn state(&self, param: &TrainableParam, shape: &StateShape) -> Result<ParamState, TrainError> {
        self.shares.pass(param, shape, self.optimizer)
    }
}

/// Codes are exact as f32.
fn as_floats(tensor: StateTensor) -> Vec<f32> {
    match tensor {
        StateValues::F32(values) => values,
        StateValues::U8(codes) => codes.into_iter().map(f32::from).collect(),
    }
}

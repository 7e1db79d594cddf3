//! The gradients of one step, by parameter.

use crate::host::{CHUNK_LEN, HostElements};
use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::{Gradients, Tensor},
};
use rayon::prelude::*;
use std::collections::HashMap;

/// Gradients of a module's tracked parameters, each flattened to `[n_elements]`, off the autodiff
/// graph, in the order in which the module visits its parameters.
///
/// That order, not the random parameter ids, fixes the order of every sum over parameters.
#[derive(Debug, Default)]
pub struct ParamGradients {
    /// In visiting order; `None` once taken out.
    entries: Vec<(ParamId, Option<Tensor<1>>)>,
    index: HashMap<ParamId, usize>,
}

impl ParamGradients {
    /// Moves the gradients of `module`'s parameters out of a backward pass.
    ///
    /// Parameters that are frozen, or that the loss did not reach, have no entry.
    pub fn collect<M: Module>(gradients: &mut Gradients, module: &M) -> Self {
        let mut collector = Collector {
            gradients,
            collected: Self::default(),
        };
        module.visit(&mut collector);
        collector.collected
    }

    /// How many parameters have a gradient.
    pub fn len(&self) -> usize {
        self.entries
            .iter()
            .filter(|(_, slot)| slot.is_some())
            .count()
    }

    /// Whether no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The gradient of one parameter, `[n_elements]`, taken out.
    pub fn remove(&mut self, id: ParamId) -> Option<Tensor<1>> {
        self.slot(id).take()
    }

    /// Sets the gradient of one parameter, `[n_elements]`, replacing any there was.
    pub fn insert(&mut self, id: ParamId, gradient: Tensor<1>) {
        *self.slot(id) = Some(gradient.inner());
    }

    /// Adds `other`, parameter by parameter; a missing gradient counts as zero.
    pub fn add(&mut self, other: Self) {
        for (id, slot) in other.entries {
            let Some(addend) = slot else {
                continue;
            };
            let slot = self.slot(id);
            *slot = Some(match slot.take() {
                Some(gradient) => add(gradient, addend),
                None => addend,
            });
        }
    }

    /// Multiplies every gradient by `factor`.
    pub fn scale(&mut self, factor: f32) {
        self.update_each(|_, gradient| scale(gradient, factor));
    }

    /// Replaces every gradient by what `update` makes of it, in the module's order.
    pub(crate) fn update_each(&mut self, mut update: impl FnMut(ParamId, Tensor<1>) -> Tensor<1>) {
        for (id, slot) in &mut self.entries {
            *slot = slot.take().map(|gradient| update(*id, gradient));
        }
    }

    /// Drops those of other parameters.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(ParamId) -> bool) {
        for (id, slot) in &mut self.entries {
            if !is_kept(*id) {
                *slot = None;
            }
        }
    }

    fn slot(&mut self, id: ParamId) -> &mut Option<Tensor<1>> {
        let position = *self.index.entry(id).or_insert_with(|| {
            self.entries.push((id, None));
            self.entries.len() - 1
        });
        &mut self.entries[position].1
    }
}

struct Collector<'a> {
    gradients: &'a mut Gradients,
    collected: ParamGradients,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A lazy parameter that no forward pass touched has no gradient, and stays lazy.
        if !param.is_initialized() {
            return;
        }
        if let Some(gradient) = param.base().grad_remove(self.gradients) {
            self.collected.insert(param.id, gradient.reshape([-1])); // [n_elements]
        }
    }
}

fn add(gradient: Tensor<1>, addend: Tensor<1>) -> Tensor<1> {
    match HostElements::take([gradient, addend]) {
        Ok([mut gradient, addend]) => {
            gradient
                .as_mut_slice()
                .par_chunks_mut(CHUNK_LEN)
                .zip(addend.as_slice().par_chunks(CHUNK_LEN))
                .for_each(|(sums, addends)| {
                    for (sum, addend) in sums.iter_mut().zip(addends) {
                        *sum += addend;
                    }
                });
            gradient.into_tensor()
        }
        Err([gradient, addend]) => gradient + addend,
    }
}

fn scale(gradient: Tensor<1>, factor: f32) -> Tensor<1> {
    match HostElements::take([gradient]) {
        Ok([mut gradient]) => {
            gradient
                .as_mut_slice()
                .par_chunks_mut(CHUNK_LEN)
                .for_each(|elements| elements.iter_mut().for_each(|element| *element *= factor));
            gradient.into_tensor()
        }
        Err([gradient]) => gradient.mul_scalar(factor),
    }
}

//! Gradients of a step, in buckets that are summed over ranks as soon as they are full.
//!
//! Buckets go from the last parameter to the first, the order in which a backward pass is done with
//! them, and are sent in that order on every rank.
//!
//! Source: Li et al. (2020), section 3.2, <https://arxiv.org/abs/2006.15704>.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{Device, Tensor},
};
use firebox_tensor::kernels::on_gradient;

use super::world::{Pending, World, WorldError, WorldSender};
use crate::{
    gradients::ParamGradients,
    host::to_floats,
    module_params::{TrainableParam, for_each_value},
};

/// Elements of a bucket: 25 MB, as in PyTorch. The first one is small, so that the first sum starts
/// early.
const BUCKET_LEN: usize = 25 * 1024 * 1024 / 4;
const FIRST_BUCKET_LEN: usize = 1024 * 1024 / 4;

/// Sums the gradients of steps over all ranks.
#[derive(Debug)]
pub(crate) struct Reducer<'a> {
    pub(crate) world: &'a World,
    layout: Arc<Layout>,
    device: Device,
}

/// Where each parameter is.
#[derive(Debug)]
struct Layout {
    /// In the module's order.
    params: Vec<(ParamId, Slot)>,
    index: HashMap<ParamId, usize>,
    buckets: Vec<BucketShape>,
}

#[derive(Debug, Clone, Copy, Default)]
struct BucketShape {
    n_elements: usize,
    n_params: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    bucket: usize,
    start: usize,
    len: usize,
    /// Its place among the bucket's parameters.
    place: usize,
}

/// The buckets of one step.
#[derive(Debug, Clone)]
pub(crate) struct StepBuckets(Arc<Mutex<Filling>>);

#[derive(Debug)]
struct Filling {
    layout: Arc<Layout>,
    /// Elements, then for each parameter how many ranks have a gradient of it.
    values: Vec<Vec<f32>>,
    n_missing: Vec<usize>,
    is_done: Vec<bool>,
    /// Whether the backward pass of the step has begun: gradients before it are some inner pass's.
    is_open: bool,
    /// What the gradients of that pass are multiplied by.
    unit: f32,
    came_early: bool,
    pending: Vec<Pending<f32>>,
    sender: WorldSender,
}

impl Layout {
    fn new(params: &[TrainableParam]) -> Self {
        let mut buckets = vec![BucketShape::default()];
        let mut slots = Vec::new();
        for param in params.iter().rev() {
            let len = param.shape.iter().product();
            let limit = match buckets.len() {
                1 => FIRST_BUCKET_LEN,
                _ => BUCKET_LEN,
            };
            let last = buckets.last().copied().unwrap_or_default();
            if last.n_params > 0 && last.n_elements + len > limit {
                buckets.push(BucketShape::default());
            }
            let bucket = buckets.len() - 1;
            let shape = &mut buckets[bucket];
            let slot = Slot {
                bucket,
                start: shape.n_elements,
                len,
                place: shape.n_params,
            };
            shape.n_elements += len;
            shape.n_params += 1;
            slots.push((param.id, slot));
        }
        slots.reverse();
        Self {
            index: (0..).zip(&slots).map(|(at, (id, _))| (*id, at)).collect(),
            params: slots,
            buckets,
        }
    }
}

impl<'a> Reducer<'a> {
    pub(crate) fn new(world: &'a World, params: &[TrainableParam], device: Device) -> Self {
        Self {
            world,
            layout: Arc::new(Layout::new(params)),
            device,
        }
    }

    /// The values that the parameters have on rank 0, by path.
    pub(crate) fn first_ranks<M: Module>(
        &self,
        model: &M,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<HashMap<String, Vec<f32>>, WorldError> {
        let mut values = HashMap::new();
        for_each_value(model, |path, own| {
            // Zero on all others: the sum is the first rank's value.
            let own = match self.world.rank() {
                0 => own,
                _ => vec![0.0; own.len()],
            };
            let pending = self.world.sender().sum(own);
            values.insert(path, self.world.wait(&pending, is_cancelled)?);
            Ok(())
        })?;
        Ok(values)
    }

    /// Empty buckets, but for what earlier batches of the step left.
    pub(crate) fn begin(&self, mut earlier: ParamGradients) -> StepBuckets {
        let buckets = &self.layout.buckets;
        let mut filling = Filling {
            layout: Arc::clone(&self.layout),
            values: buckets
                .iter()
                .map(|bucket| vec![0.0; bucket.n_elements + bucket.n_params])
                .collect(),
            n_missing: buckets.iter().map(|bucket| bucket.n_params).collect(),
            is_done: vec![false; self.layout.params.len()],
            is_open: false,
            unit: 1.0,
            came_early: false,
            pending: Vec::new(),
            sender: self.world.sender(),
        };
        for (id, slot) in &self.layout.params {
            if let Some(gradient) = earlier.remove(*id) {
                filling.add(*slot, &to_floats(gradient), 1.0);
            }
        }
        StepBuckets(Arc::new(Mutex::new(filling)))
    }

    /// Waits for the sums. A parameter that no rank has a gradient of has none.
    pub(crate) fn finish(
        &self,
        buckets: &StepBuckets,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<ParamGradients, WorldError> {
        let pending = buckets.lock().close();
        let mut sums = Vec::with_capacity(pending.len());
        for pending in &pending {
            sums.push(self.world.wait(pending, is_cancelled)?);
        }
        let mut gradients = ParamGradients::default();
        for (id, slot) in &self.layout.params {
            let sums = &sums[slot.bucket];
            let n_elements = self.layout.buckets[slot.bucket].n_elements;
            if sums[n_elements + slot.place] > 0.0 {
                let values = &sums[slot.start..slot.start + slot.len];
                gradients.insert(*id, Tensor::from_floats(values, &self.device));
            }
        }
        Ok(gradients)
    }
}

impl Filling {
    fn add(&mut self, slot: Slot, gradient: &[f32], unit: f32) {
        let n_elements = self.layout.buckets[slot.bucket].n_elements;
        let values = &mut self.values[slot.bucket];
        values[n_elements + slot.place] = 1.0;
        let sums = &mut values[slot.start..slot.start + slot.len];
        sums.iter_mut()
            .zip(gradient)
            .for_each(|(sum, addend)| *sum += unit * addend);
    }

    /// The last there is of a parameter. Full buckets are sent, none before the one in front of it.
    fn complete(&mut self, at: usize, gradient: Option<&[f32]>) {
        if std::mem::replace(&mut self.is_done[at], true) {
            return;
        }
        let (_, slot) = self.layout.params[at];
        if let Some(gradient) = gradient {
            self.add(slot, gradient, self.unit);
        }
        self.n_missing[slot.bucket] -= 1;
        while self.n_missing.get(self.pending.len()) == Some(&0) {
            let full = std::mem::take(&mut self.values[self.pending.len()]);
            self.pending.push(self.sender.sum(full));
        }
    }

    fn close(&mut self) -> Vec<Pending<f32>> {
        for at in (0..self.is_done.len()).rev() {
            self.complete(at, None);
        }
        std::mem::take(&mut self.pending)
    }
}

impl StepBuckets {
    /// Nothing panics while it is held, and half a bucket is sent by nobody.
    fn lock(&self) -> MutexGuard<'_, Filling> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn complete(&self, id: ParamId, gradient: Tensor<1>) {
        let gradient = to_floats(gradient);
        let mut filling = self.lock();
        if !filling.is_open {
            filling.came_early = true;
            return;
        }
        if let Some(at) = filling.layout.index.get(&id).copied() {
            filling.complete(at, Some(&gradient));
        }
    }

    #[cfg(test)]
    pub(crate) fn n_sent(&self) -> usize {
        self.lock().pending.len()
    }

    /// The backward pass of the step begins, in gradients that count `unit` times. `false` when a hook has seen a gradient before: then the
    /// buckets know nothing of it, and the backward pass lacks it.
    pub(crate) fn open(&self, unit: f32) -> bool {
        let mut filling = self.lock();
        (filling.is_open, filling.unit) = (true, unit);
        !filling.came_early
    }

    /// The module, whose backward pass fills the buckets as it goes.
    pub(crate) fn hook<M: Module>(&self, module: M) -> M {
        module.map(&mut Hooker(self))
    }

    /// What a backward pass has of parameters without a hook.
    pub(crate) fn take(&self, mut gradients: ParamGradients) {
        let layout = Arc::clone(&self.lock().layout);
        for (at, (id, _)) in layout.params.iter().enumerate().rev() {
            // What a hook has handed over is not copied again.
            if self.lock().is_done[at] {
                continue;
            }
            if let Some(gradient) = gradients.remove(*id) {
                self.complete(*id, gradient);
            }
        }
    }
}

struct Hooker<'a>(&'a StepBuckets);

impl ModuleMapper for Hooker<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_initialized() || !param.base().is_require_grad() {
            return param;
        }
        // The graph keeps the hook of a parameter that no loss reached, but not the buckets.
        let (id, buckets) = (param.id, Arc::downgrade(&self.0.0));
        param.map(|value| {
            let hook = move |gradient: Tensor<D>| {
                if let Some(filling) = buckets.upgrade() {
                    StepBuckets(filling).complete(id, gradient.reshape([-1]));
                }
            };
            on_gradient(&value, Arc::new(hook)).unwrap_or(value)
        })
    }
}

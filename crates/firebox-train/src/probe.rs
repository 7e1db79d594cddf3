//! What a session looks at beside losses: gradients by parameter, one weight's steps, batches.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use burn::module::{Module, ParamId};

use crate::{
    accumulate::StepBatch,
    gradient_measure::measure_all,
    module_params::{TrainableParam, values_of},
    observer::ParamSignal,
    signals::{StepSignals, similarity},
};

/// The weight whose steps are measured has at most so many elements: it is copied at every step.
const MAX_PROBED: usize = 1 << 20;
/// Steps between batches that are compared as distant.
const FAR: usize = 8;

/// Turns steps into signals.
#[derive(Debug)]
pub(crate) struct Probe {
    params: HashMap<ParamId, (Arc<str>, usize)>,
    probed: Option<ParamId>,
    before: Option<Vec<f32>>,
    /// Token counts of the last batches, the newest last.
    histograms: VecDeque<Vec<u32>>,
}

impl Probe {
    pub(crate) fn new(params: &[TrainableParam]) -> Self {
        let n_elements = |param: &&TrainableParam| param.shape.iter().product::<usize>();
        let weights = params.iter().filter(|param| param.shape.len() >= 2);
        let probed = weights
            .filter(|param| n_elements(param) <= MAX_PROBED)
            .max_by_key(n_elements);
        Self {
            params: params
                .iter()
                .map(|param| (param.id, (param.path.as_str().into(), param.shape.len())))
                .collect(),
            probed: probed.map(|param| param.id),
            before: None,
            histograms: VecDeque::new(),
        }
    }

    /// The step's gradients, before clipping.
    pub(crate) fn gradients(&self, batch: &mut StepBatch) -> Vec<ParamSignal> {
        let measures = measure_all(&mut batch.gradients).into_iter();
        let signals = measures.map(|(id, measure)| {
            let known = self.params.get(&id).cloned();
            let (path, n_axes) = known.unwrap_or_else(|| ("".into(), 0));
            ParamSignal {
                path,
                grad_norm: measure.sum_of_squares.sqrt(),
                zero_share: measure.n_zeros as f64 / measure.n_elements.max(1) as f64,
                n_elements: measure.n_elements,
                n_axes,
            }
        });
        signals.collect()
    }

    /// The weight as it is before the update.
    pub(crate) fn before<M: Module>(&mut self, model: &M) {
        self.before = self.probed.and_then(|id| values_of(model, id));
    }

    /// Everything about the step, after the update.
    pub(crate) fn signals<M: Module>(
        &mut self,
        model: &M,
        batch: StepBatch,
        params: &[ParamSignal],
    ) -> StepSignals {
        let mut signals = StepSignals::of_gradients(params);
        signals.update_ratio = self.update_ratio(model);
        signals.leaks = batch.leaks;
        if let Some(contents) = &batch.contents {
            signals.similarity = self.compare(contents.histogram.clone());
        }
        signals.batch = batch.contents;
        signals
    }

    fn update_ratio<M: Module>(&mut self, model: &M) -> Option<f64> {
        let before = self.before.take()?;
        let after = self.probed.and_then(|id| values_of(model, id))?;
        let norm = |squares: &mut dyn Iterator<Item = f64>| squares.sum::<f64>().sqrt();
        let change = norm(&mut before.iter().zip(&after).map(|(old, new)| {
            let step = f64::from(*new) - f64::from(*old);
            step * step
        }));
        let size = norm(&mut before.iter().map(|old| f64::from(*old) * f64::from(*old)));
        (size > 0.0).then_some(change / size)
    }

    fn compare(&mut self, histogram: Vec<u32>) -> Option<[f64; 2]> {
        let near = self
            .histograms
            .back()
            .map(|last| similarity(last, &histogram));
        let is_full = self.histograms.len() == FAR;
        let far = is_full
            .then(|| self.histograms.pop_front())
            .flatten()
            .map(|first| similarity(&first, &histogram));
        self.histograms.push_back(histogram);
        Some([near?, far?])
    }
}

//! What an optimizer is: a rule that moves one parameter along its gradient.

use crate::{
    gradients::ParamGradients,
    module_params::as_leaf,
    optimizer_state::{ParamState, StateError},
    param_groups::ParamGroups,
};
use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{Device, Tensor},
};

/// Which parameter is updated, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct ParamUpdate<'a> {
    /// Its state goes by this.
    pub id: ParamId,
    /// Its shape; values and gradients come flat.
    pub shape: &'a [usize],
    /// Its learning rate in this step.
    pub learning_rate: f64,
    /// Instead of the optimizer's weight decay.
    pub weight_decay: Option<f64>,
}

/// An update rule with a state per parameter.
///
/// Implementations see flat tensors off the autodiff graph and need not know the module; `step`
/// walks it. Parameters without a gradient are left alone: neither moved nor decayed, and their
/// state does not advance.
///
/// # Examples
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Distribution, Tensor}};
/// use firebox_train::{AdamWConfig, Optimizer, ParamGradients};
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(3, 1).init(&device);
/// let mut optimizer = AdamWConfig::default().init();
/// let inputs = Tensor::<2>::random([8, 3], Distribution::Default, &device);
/// for _ in 0..2 {
///     let loss = layer.forward(inputs.clone()).powi_scalar(2).mean();
///     let mut gradients = ParamGradients::collect(&mut loss.backward(), &layer);
///     layer = optimizer.step(layer, &mut gradients, 1e-2);
/// }
/// ```
pub trait Optimizer {
    /// The parameter's new value.
    ///
    /// # Shapes
    ///
    /// `value`, `gradient` and the result are `[n_elements]`, in the parameter's own memory order.
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1>;

    /// A copy of what is kept of a parameter; `None` where that is nothing.
    fn state(&self, id: ParamId) -> Option<ParamState>;

    /// Takes up a state from [`Optimizer::state`].
    ///
    /// # Errors
    /// When it is another optimizer's.
    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError>;

    /// Updates every parameter of `module` that has a gradient, taking the gradients out.
    ///
    /// Each parameter is its own leaf again afterwards: the autodiff graph does not grow, and a
    /// buffer that only the module holds is updated in place.
    fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &mut ParamGradients,
        learning_rate: f64,
    ) -> M
    where
        Self: Sized,
    {
        self.step_groups(module, gradients, learning_rate, &ParamGroups::default())
    }

    /// The same with rates and decays of groups.
    fn step_groups<M: Module>(
        &mut self,
        module: M,
        gradients: &mut ParamGradients,
        learning_rate: f64,
        groups: &ParamGroups,
    ) -> M
    where
        Self: Sized,
    {
        module.map(&mut StepMapper {
            optimizer: self,
            gradients,
            learning_rate,
            groups,
        })
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        (**self).update(param, value, gradient)
    }

    fn state(&self, id: ParamId) -> Option<ParamState> {
        (**self).state(id)
    }

    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError> {
        (**self).restore(id, state, device)
    }
}

struct StepMapper<'a, O> {
    optimizer: &'a mut O,
    gradients: &'a mut ParamGradients,
    learning_rate: f64,
    groups: &'a ParamGroups,
}

impl<O: Optimizer> ModuleMapper for StepMapper<'_, O> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(gradient) = self.gradients.remove(id) else {
            return param;
        };
        param.map(|tensor| {
            let shape = tensor.shape();
            let group = self.groups.get(id);
            let update = ParamUpdate {
                id,
                shape: &shape.to_vec(),
                learning_rate: self.learning_rate * group.map_or(1.0, |group| group.rate_factor),
                weight_decay: group.and_then(|group| group.weight_decay),
            };
            let checkpointing = tensor.gradient_checkpointing_strategy();
            let value = tensor.inner().reshape([-1]); // [n_elements]
            let value = self
                .optimizer
                .update(&update, value, gradient)
                .reshape(shape); // the parameter's shape
            as_leaf(value, checkpointing)
        })
    }
}

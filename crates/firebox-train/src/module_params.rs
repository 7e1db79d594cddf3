//! The parameters of a module by the names along their path.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Device, GradientCheckpointingStrategy, Tensor, TensorData},
};

use crate::host::to_floats;

/// Where a parameter sits in its module, such as `layers.0.q_proj.weight`.
#[derive(Debug, Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// A parameter that trains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrainableParam {
    pub(crate) path: String,
    pub(crate) id: ParamId,
    pub(crate) shape: Vec<usize>,
}

/// All parameters that ask for gradients, in the module's order.
pub(crate) fn trainable_params<M: Module>(module: &M) -> Vec<TrainableParam> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}

#[derive(Default)]
struct Lister {
    path: Path,
    found: Vec<TrainableParam>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.base();
        if value.is_require_grad() {
            self.found.push(TrainableParam {
                path: self.path.joined(),
                id: param.id,
                shape: value.dims().to_vec(),
            });
        }
    }
}

/// Shows every trainable parameter's values, one parameter at a time, in the module's order. The
/// first error ends it.
pub(crate) fn for_each_value<M: Module, E>(
    module: &M,
    see: impl FnMut(String, Vec<f32>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader {
        path: Path::default(),
        see,
        result: Ok(()),
    };
    module.visit(&mut reader);
    reader.result
}

struct Reader<F, E> {
    path: Path,
    see: F,
    result: Result<(), E>,
}

impl<F, E> ModuleVisitor for Reader<F, E>
where
    F: FnMut(String, Vec<f32>) -> Result<(), E>,
{
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.result.is_err() || !param.base().is_require_grad() {
            return;
        }
        self.result = (self.see)(self.path.joined(), to_floats(param.val().inner()));
    }
}

/// Gives every trainable parameter the values that `give` has for its path. The first error ends
/// it.
///
/// `give` answers with as many values as the parameter has: it is told the shape.
pub(crate) fn replace_values<M: Module, E>(
    module: M,
    give: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
) -> Result<M, E> {
    let mut writer = Writer {
        path: Path::default(),
        give,
        result: Ok(()),
    };
    let module = module.map(&mut writer);
    writer.result.map(|()| module)
}

struct Writer<F, E> {
    path: Path,
    give: F,
    result: Result<(), E>,
}

impl<F, E> ModuleMapper for Writer<F, E>
where
    F: FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
{
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.result.is_err() || !param.base().is_require_grad() {
            return param;
        }
        let shape = param.base().dims().to_vec();
        let values = match (self.give)(&self.path.joined(), &shape) {
            Ok(values) => values,
            Err(error) => {
                self.result = Err(error);
                return param;
            }
        };
        param.map(|old| {
            let data = TensorData::new(values, shape);
            let (device, dtype) = (old.device().inner(), old.dtype());
            let strategy = old.gradient_checkpointing_strategy();
            as_leaf(Tensor::from_data(data, (&device, dtype)), strategy)
        })
    }
}

/// A new value of a parameter as a leaf of its own, where the old one was on the autodiff graph: it
/// then had a strategy.
pub(crate) fn as_leaf<const D: usize>(
    value: Tensor<D>,
    strategy: Option<GradientCheckpointingStrategy>,
) -> Tensor<D> {
    match strategy {
        Some(strategy) => value
            .autodiff()
            .with_gradient_checkpointing_strategy(strategy)
            .require_grad(),
        None => value,
    }
}

/// Where the module's tensors are, without the autodiff graph.
pub(crate) fn device_of<M: Module>(model: &M) -> Device {
    let devices = model.devices();
    devices
        .into_iter()
        .next()
        .map_or_else(Device::default, |device| device.inner())
}

/// The values of one parameter, flat; `None` when the module has none of that id.
pub(crate) fn values_of<M: Module>(module: &M, id: ParamId) -> Option<Vec<f32>> {
    let mut finder = Finder { id, values: None };
    module.visit(&mut finder);
    finder.values
}

struct Finder {
    id: ParamId,
    values: Option<Vec<f32>>,
}

impl ModuleVisitor for Finder {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.id == self.id {
            self.values = Some(to_floats(param.val().inner()));
        }
    }
}

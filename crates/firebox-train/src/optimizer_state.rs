//! What an optimizer keeps of a parameter, in a form that can be written.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
/// A flat tensor: values, or codes.
pub use firebox_checkpoint::StateValues as StateTensor;

use crate::host::to_floats;

/// What an optimizer keeps of one parameter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParamState {
    /// Updates so far.
    pub n_updates: u64,
    /// Flat tensors by name, such as `first_moment`.
    pub tensors: BTreeMap<String, StateTensor>,
}

/// A state that is not this optimizer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found} (hint: resume with the optimizer of the run)")]
pub struct StateError {
    /// What the optimizer keeps.
    pub expected: String,
    /// What was given.
    pub found: String,
}

impl ParamState {
    /// A state of f32 tensors, copied to the host.
    pub(crate) fn of_tensors(n_updates: u64, tensors: &[(&str, &Tensor<1>)]) -> Self {
        let copy = |tensor: &Tensor<1>| StateTensor::F32(to_floats(tensor.clone()));
        let tensors = tensors
            .iter()
            .map(|(name, tensor)| ((*name).to_owned(), copy(tensor)));
        Self {
            n_updates,
            tensors: tensors.collect(),
        }
    }

    /// The tensors of these names on `device`; an error unless the state has these and no others,
    /// all of f32.
    pub(crate) fn into_tensors<const N: usize>(
        mut self,
        names: [&str; N],
        device: &Device,
    ) -> Result<[Tensor<1>; N], StateError> {
        let found = self.describe();
        let error = || StateError {
            expected: format!("f32 tensors `{}`", names.join("`, `")),
            found: found.clone(),
        };
        let mut take = |name: &str| match self.tensors.remove(name) {
            Some(StateTensor::F32(values)) => Ok(Tensor::from_floats(values.as_slice(), device)),
            _ => Err(error()),
        };
        let mut tensors = Vec::new();
        for name in names {
            tensors.push(take(name)?);
        }
        match (self.tensors.is_empty(), tensors.try_into()) {
            (true, Ok(tensors)) => Ok(tensors),
            _ => Err(error()),
        }
    }

    pub(crate) fn describe(&self) -> String {
        let of = |(name, tensor): (&String, &StateTensor)| match tensor {
            StateTensor::F32(values) => format!("`{name}` ({} f32)", values.len()),
            StateTensor::U8(codes) => format!("`{name}` ({} u8)", codes.len()),
        };
        match self.tensors.is_empty() {
            true => "none".to_owned(),
            false => self.tensors.iter().map(of).collect::<Vec<_>>().join(", "),
        }
    }
}

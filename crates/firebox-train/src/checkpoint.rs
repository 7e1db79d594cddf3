//! A checkpoint: all that a run needs to go on as if it had never stopped.

use std::{collections::BTreeMap, fs, path::Path};

use burn::{
    module::{Module, ParamId},
    tensor::Device,
};
use firebox_checkpoint::{AtomicDir, Dtype, StateEntry, StateFile, StateFileWriter, StateValues};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ema::Ema,
    error::TrainError,
    module_params::{TrainableParam, device_of, for_each_value, replace_values, trainable_params},
    optimizer::Optimizer,
    optimizer_state::ParamState,
    run_error::RunError,
};

/// The version of the files that are written. Others are refused.
pub(crate) const VERSION: u32 = 1;
const STATE: &str = "state.json";
const PARAMS: &str = "params.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const EMA: &str = "ema.safetensors";
/// Between a parameter's path and the name of its state.
const MARK: char = '#';

/// What a checkpoint keeps besides tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainState {
    pub(crate) version: u32,
    /// Finished steps.
    pub(crate) step: usize,
    /// Tokens that went through the model so far.
    pub(crate) n_input_tokens: usize,
    /// Time so far, in seconds.
    pub(crate) elapsed_s: f64,
    /// The run's settings.
    pub(crate) config: Value,
    /// The source's own state; null for sources that go by the batch's number.
    pub(crate) batches: Value,
    /// The parts of the trainer that change as it runs.
    pub(crate) parts: Value,
    /// Of the tokens of the last step.
    pub(crate) fingerprint: Option<u64>,
    /// Updates of each parameter so far.
    pub(crate) n_updates: BTreeMap<String, u64>,
}

/// What an optimizer keeps of a parameter, but for the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateShape {
    pub(crate) n_updates: u64,
    /// Dtype and length by name.
    pub(crate) tensors: BTreeMap<String, (Dtype, usize)>,
}

impl StateShape {
    pub(crate) fn of(state: &ParamState) -> Self {
        let tensors = state.tensors.iter();
        Self {
            n_updates: state.n_updates,
            tensors: tensors
                .map(|(name, tensor)| (name.clone(), (tensor.dtype(), tensor.len())))
                .collect(),
        }
    }
}

/// Where the optimizer's states come from, one parameter at a time.
pub(crate) trait StateSource {
    /// Of those parameters that have a state, by path.
    fn shapes(&self, params: &[TrainableParam])
    -> Result<BTreeMap<String, StateShape>, TrainError>;

    /// Asked for once for every shape, in the order of the parameters.
    fn state(&self, param: &TrainableParam, shape: &StateShape) -> Result<ParamState, TrainError>;
}

/// A whole optimizer copies each state twice: for its shape, and for its values.
impl StateSource for &dyn Optimizer {
    fn shapes(
        &self,
        params: &[TrainableParam],
    ) -> Result<BTreeMap<String, StateShape>, TrainError> {
        let states = params.iter().filter_map(|param| {
            let shape = StateShape::of(&Optimizer::state(*self, param.id)?);
            Some((param.path.clone(), shape))
        });
        Ok(states.collect())
    }

    fn state(&self, param: &TrainableParam, _shape: &StateShape) -> Result<ParamState, TrainError> {
        Ok(Optimizer::state(*self, param.id).unwrap_or_default())
    }
}

/// Writes the checkpoint as a directory that appears whole.
pub(crate) fn write<M: Module>(
    dir: &Path,
    mut state: TrainState,
    model: &M,
    states: &dyn StateSource,
    ema: Option<&Ema>,
) -> Result<(), TrainError> {
    let new = AtomicDir::create(dir).map_err(RunError::from)?;
    let params = trainable_params(model);
    write_params(&new.path().join(PARAMS), model, &params)?;
    state.n_updates = write_optimizer(&new.path().join(OPTIMIZER), &params, states)?;
    if let Some(ema) = ema {
        write_ema(&new.path().join(EMA), ema)?;
    }
    let path = new.path().join(STATE);
    let bytes = serde_json::to_vec_pretty(&state).expect("plain data has a JSON form");
    fs::write(&path, bytes).map_err(|source| RunError::Write { path, source })?;
    Ok(new.commit().map_err(RunError::from)?)
}

fn write_ema(path: &Path, ema: &Ema) -> Result<(), RunError> {
    let (_, averages) = ema.state();
    let entries: Vec<StateEntry> = averages
        .iter()
        .map(|(name, values)| StateEntry {
            name: name.clone(),
            dtype: Dtype::F32,
            shape: vec![values.len()],
        })
        .collect();
    let mut file = StateFileWriter::create(path, &entries)?;
    for (name, values) in averages {
        file.write(name, &StateValues::F32(values.clone()))?;
    }
    Ok(file.finish()?)
}

/// Reads the averages of a checkpoint.
pub(crate) fn read_ema(dir: &Path) -> Result<BTreeMap<String, Vec<f32>>, RunError> {
    let file = StateFile::open(&dir.join(EMA))?;
    let mut averages = BTreeMap::new();
    for name in file.names() {
        if let (_, StateValues::F32(values)) = file.read(name)? {
            averages.insert(name.clone(), values);
        }
    }
    Ok(averages)
}

fn write_params<M: Module>(
    path: &Path,
    model: &M,
    params: &[TrainableParam],
) -> Result<(), RunError> {
    let entries: Vec<StateEntry> = params
        .iter()
        .map(|param| StateEntry {
            name: param.path.clone(),
            dtype: Dtype::F32,
            shape: param.shape.clone(),
        })
        .collect();
    let mut file = StateFileWriter::create(path, &entries)?;
    for_each_value(model, |name, values| {
        file.write(&name, &StateValues::F32(values))
    })?;
    Ok(file.finish()?)
}

/// One parameter's state is in memory at a time.
fn write_optimizer(
    path: &Path,
    params: &[TrainableParam],
    states: &dyn StateSource,
) -> Result<BTreeMap<String, u64>, TrainError> {
    let shapes = states.shapes(params)?;
    let entry = |path: &str, name: &str, (dtype, len): &(Dtype, usize)| StateEntry {
        name: format!("{path}{MARK}{name}"),
        dtype: *dtype,
        shape: vec![*len],
    };
    let known = params
        .iter()
        .filter_map(|param| Some((param, shapes.get(&param.path)?)));
    let entries: Vec<StateEntry> = known
        .clone()
        .flat_map(|(param, shape)| {
            let tensors = shape.tensors.iter();
            tensors.map(|(name, of)| entry(&param.path, name, of))
        })
        .collect();
    let mut file = StateFileWriter::create(path, &entries).map_err(RunError::from)?;
    for (param, shape) in known {
        for (name, tensor) in states.state(param, shape)?.tensors {
            let name = format!("{}{MARK}{name}", param.path);
            file.write(&name, &tensor).map_err(RunError::from)?;
        }
    }
    file.finish().map_err(RunError::from)?;
    let n_updates = shapes.into_iter();
    Ok(n_updates
        .map(|(path, shape)| (path, shape.n_updates))
        .collect())
}

/// Reads what a checkpoint keeps besides tensors.
pub(crate) fn read_state(dir: &Path) -> Result<TrainState, RunError> {
    /// Read first: another version may have other fields.
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let path = dir.join(STATE);
    let bytes = fs::read(&path).map_err(|source| RunError::Read {
        path: path.clone(),
        source,
    })?;
    let json = |source| RunError::Json {
        path: path.clone(),
        source,
    };
    let Version { version } = serde_json::from_slice(&bytes).map_err(json)?;
    if version != VERSION {
        return Err(RunError::Version {
            path,
            expected: VERSION,
            found: version,
        });
    }
    serde_json::from_slice(&bytes).map_err(json)
}

/// Puts parameters and optimizer back as they were, of the latter what this rank keeps.
pub(crate) fn restore<M: Module>(
    dir: &Path,
    state: &TrainState,
    model: M,
    optimizer: &mut dyn Optimizer,
    is_kept: &dyn Fn(ParamId) -> bool,
) -> Result<M, RunError> {
    let device = device_of(&model);
    let file = StateFile::open(&dir.join(PARAMS))?;
    let params = trainable_params(&model);
    check_names(dir, &params, file.names())?;
    let model = replace_values(model, |path, expected| match file.read(path)? {
        (found, StateValues::F32(values)) if found == expected => Ok(values),
        (found, _) => Err(RunError::Shape {
            dir: dir.to_owned(),
            name: path.to_owned(),
            expected: expected.to_vec(),
            found,
        }),
    })?;
    let kept: Vec<&TrainableParam> = params.iter().filter(|param| is_kept(param.id)).collect();
    restore_optimizer(dir, state, &kept, optimizer, &device)?;
    Ok(model)
}

fn check_names<'a>(
    dir: &Path,
    params: &[TrainableParam],
    found: impl Iterator<Item = &'a String>,
) -> Result<(), RunError> {
    let mut expected: Vec<&String> = params.iter().map(|param| &param.path).collect();
    expected.sort_unstable();
    let found: Vec<&String> = found.collect();
    if expected == found {
        return Ok(());
    }
    let only = |names: &[&String], others: &[&String]| {
        let first = names.iter().find(|name| !others.contains(name));
        first.map(|name| (*name).clone())
    };
    Err(RunError::Params {
        dir: dir.to_owned(),
        n_expected: expected.len(),
        n_found: found.len(),
        missing: only(&expected, &found),
        stray: only(&found, &expected),
    })
}

fn restore_optimizer(
    dir: &Path,
    state: &TrainState,
    params: &[&TrainableParam],
    optimizer: &mut dyn Optimizer,
    device: &Device,
) -> Result<(), RunError> {
    let file = StateFile::open(&dir.join(OPTIMIZER))?;
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for full in file.names() {
        let (path, name) = full.rsplit_once(MARK).unwrap_or((full, ""));
        names.entry(path).or_default().push(name);
    }
    for param in params {
        let Some(n_updates) = state.n_updates.get(&param.path) else {
            continue;
        };
        let mut tensors = BTreeMap::new();
        for name in names.remove(param.path.as_str()).unwrap_or_default() {
            let (_, tensor) = file.read(&format!("{}{MARK}{name}", param.path))?;
            tensors.insert(name.to_owned(), tensor);
        }
        let saved = ParamState {
            n_updates: *n_updates,
            tensors,
        };
        optimizer
            .restore(param.id, saved, device)
            .map_err(|source| RunError::Optimizer {
                dir: dir.to_owned(),
                name: param.path.clone(),
                source,
            })?;
    }
    Ok(())
}

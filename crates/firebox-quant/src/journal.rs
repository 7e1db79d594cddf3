//! What a calibrated run has done so far, so that it goes on where it was interrupted.
//!
//! A folder with `run.json` (what the run is made of), for each finished layer `layer-N.safetensors`
//! with what it became and `layer-N.json` with the reports, and `states-N.safetensors` with the
//! residual stream after the last one. Each file appears whole; a layer is finished when its states are
//! there.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{
    Dtype, StateEntry, StateFile, StateFileWriter, StateValues, write_atomic,
};
use firebox_model::host_f32;
use firebox_tensor::packed::PackedMatrix;
use serde::{Deserialize, Serialize};

use crate::error::QuantError;
use crate::report::TensorReport;

/// A weight and what packing it cost.
pub(crate) type PackedTensor = (TensorReport, PackedMatrix);

/// A layer as it is written.
#[derive(Debug)]
pub(crate) struct FinishedLayer {
    pub(crate) packed: Vec<PackedTensor>,
    /// Tensors that stay floats, but are not those of the checkpoint.
    pub(crate) kept: Vec<(String, Vec<f32>)>,
}

/// What the file of a layer has.
#[derive(Serialize, Deserialize)]
struct Contents {
    packed: Vec<TensorReport>,
    kept: Vec<String>,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
}

impl Journal {
    /// Opens the folder of the run that `run` describes, or begins it: what another run left is deleted.
    /// With it the number of layers that are done.
    pub(crate) fn open(
        dir: &Path,
        run: &str,
        n_layers: usize,
    ) -> Result<(Self, usize), QuantError> {
        let journal = Self {
            dir: dir.to_owned(),
        };
        let run_file = dir.join("run.json");
        if fs::read_to_string(&run_file).is_ok_and(|found| found == run) {
            let is_done = |i: &usize| journal.states_path(*i).is_file();
            let done = (0..n_layers).rev().find(is_done).map_or(0, |last| last + 1);
            return Ok((journal, done));
        }
        journal.remove()?;
        write_atomic(&run_file, run.as_bytes())?;
        Ok((journal, 0))
    }

    /// Keeps a finished layer, and the residual stream of each text after it.
    pub(crate) fn save(
        &self,
        i: usize,
        layer: &FinishedLayer,
        states: &[Tensor<3>],
    ) -> Result<(), QuantError> {
        let mut tensors: Vec<(StateEntry, StateValues)> = Vec::new();
        for (report, matrix) in &layer.packed {
            for part in matrix.parts() {
                let entry = StateEntry {
                    name: format!("{}.{}", report.name, part.name),
                    dtype: Dtype::U8,
                    shape: vec![part.bytes.len()],
                };
                tensors.push((entry, StateValues::U8(part.bytes.to_vec())));
            }
        }
        for (name, values) in &layer.kept {
            let entry = StateEntry {
                name: name.clone(),
                dtype: Dtype::F32,
                shape: vec![values.len()],
            };
            tensors.push((entry, StateValues::F32(values.clone())));
        }
        let entries: Vec<StateEntry> = tensors.iter().map(|(entry, _)| entry.clone()).collect();
        self.write(&self.weights_path(i), &entries, |i| tensors[i].1.clone())?;
        let contents = Contents {
            packed: layer
                .packed
                .iter()
                .map(|(report, _)| report.clone())
                .collect(),
            kept: layer.kept.iter().map(|(name, _)| name.clone()).collect(),
        };
        let json = serde_json::to_vec(&contents).expect("reports have no maps with odd keys");
        write_atomic(&self.contents_path(i), &json)?;
        let entries = states.iter().enumerate().map(|(i, state)| StateEntry {
            name: i.to_string(),
            dtype: Dtype::F32,
            shape: state.dims().to_vec(),
        });
        let entries: Vec<StateEntry> = entries.collect();
        self.write(&self.states_path(i), &entries, |i| {
            StateValues::F32(host_f32(states[i].clone()))
        })?;
        if let Some(before) = i.checked_sub(1) {
            // Whether or not it is gone: the later one counts.
            let _ = fs::remove_file(self.states_path(before));
        }
        Ok(())
    }

    /// A finished layer.
    pub(crate) fn layer(&self, i: usize) -> Result<FinishedLayer, QuantError> {
        let json = fs::read(self.contents_path(i)).map_err(|source| self.unreadable(&source))?;
        let contents: Contents =
            serde_json::from_slice(&json).map_err(|error| self.unreadable(&error))?;
        let file = StateFile::open(&self.weights_path(i))?;
        let packed = contents.packed.into_iter().map(|report| {
            let [n_rows, n_cols] = report.shape;
            let matrix = PackedMatrix::from_parts(report.format, n_rows, n_cols, |part| match file
                .read(&format!("{}.{part}", report.name))
            {
                Ok((_, StateValues::U8(bytes))) => Some(bytes),
                _ => None,
            });
            match matrix {
                Ok(matrix) => Ok((report, matrix)),
                Err(error) => Err(self.unreadable(&error)),
            }
        });
        let packed = packed.collect::<Result<_, _>>()?;
        let kept = contents
            .kept
            .into_iter()
            .map(|name| match file.read(&name)? {
                (_, StateValues::F32(values)) => Ok((name, values)),
                _ => Err(self.unreadable(&format!("`{name}` is not in f32"))),
            });
        let kept = kept.collect::<Result<_, QuantError>>()?;
        Ok(FinishedLayer { packed, kept })
    }

    /// The residual stream of each of `n_texts` after a finished layer.
    pub(crate) fn states(
        &self,
        layer: usize,
        n_texts: usize,
        device: &Device,
    ) -> Result<Vec<Tensor<3>>, QuantError> {
        let file = StateFile::open(&self.states_path(layer))?;
        let states = (0..n_texts).map(|i| {
            let (shape, values) = file.read(&i.to_string())?;
            match (<[usize; 3]>::try_from(shape), values) {
                (Ok(shape), StateValues::F32(values)) => {
                    Ok(Tensor::from_data(TensorData::new(values, shape), device))
                }
                _ => Err(self.unreadable(&"the residual stream has another shape")),
            }
        });
        states.collect()
    }

    /// Deletes the folder.
    pub(crate) fn remove(&self) -> Result<(), QuantError> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.unreadable(&error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a file under another name, and then gives it its own.
    fn write(
        &self,
        path: &Path,
        entries: &[StateEntry],
        values: impl Fn(usize) -> StateValues,
    ) -> Result<(), QuantError> {
        let unfinished = path.with_extension("tmp");
        let mut writer = StateFileWriter::create(&unfinished, entries)?;
        for (i, entry) in entries.iter().enumerate() {
            writer.write(&entry.name, &values(i))?;
        }
        writer.finish()?;
        fs::rename(&unfinished, path).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> QuantError {
        QuantError::Journal {
            path: self.dir.clone(),
            what: error.to_string(),
        }
    }

    fn weights_path(&self, layer: usize) -> PathBuf {
        self.dir.join(format!("layer-{layer}.safetensors"))
    }

    fn contents_path(&self, layer: usize) -> PathBuf {
        self.dir.join(format!("layer-{layer}.json"))
    }

    fn states_path(&self, layer: usize) -> PathBuf {
        self.dir.join(format!("states-{layer}.safetensors"))
    }
}

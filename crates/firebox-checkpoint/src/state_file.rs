//! The tensors of a training state in one safetensors file, bit for bit.

use std::path::Path;

use crate::{
    dtype::Dtype,
    encoding::decode,
    error::{CheckpointError, WriteError},
    mapped::Mapped,
    near_names::near_names,
    safetensors::{PlannedTensor, Shards},
    weight_file::WeightFile,
};

/// The values of one tensor, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum StateValues {
    /// Parameters and running means. NaN and infinity are kept as they are.
    F32(Vec<f32>),
    /// Codes of 8-bit states.
    U8(Vec<u8>),
}

impl StateValues {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`Dtype::F32`] or [`Dtype::U8`].
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U8(_) => Dtype::U8,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::U8(values) => values.clone(),
        }
    }
}

/// One tensor of a file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// Unique in the file.
    pub name: String,
    /// [`Dtype::F32`] or [`Dtype::U8`].
    pub dtype: Dtype,
    /// Any number of axes.
    pub shape: Vec<usize>,
}

/// A file in the making: all entries are declared first, then written one by one, so that only one
/// tensor is copied at a time.
///
/// # Examples
/// ```
/// use firebox_checkpoint::{Dtype, StateEntry, StateFile, StateFileWriter, StateValues};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("params.safetensors");
/// let entry = StateEntry { name: "w".into(), dtype: Dtype::F32, shape: vec![2] };
/// let mut writer = StateFileWriter::create(&path, &[entry])?;
/// writer.write("w", &StateValues::F32(vec![1.0, f32::NAN]))?;
/// writer.finish()?;
///
/// let file = StateFile::open(&path)?;
/// let (shape, values) = file.read("w")?;
/// assert_eq!((shape, values.len()), (vec![2], 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StateFileWriter {
    path: std::path::PathBuf,
    file: WeightFile,
    plan: Vec<PlannedTensor>,
}

impl StateFileWriter {
    /// Begins a file; the caller sees to it that it appears whole (see
    /// [`AtomicDir`](crate::AtomicDir)).
    ///
    /// # Errors
    /// When the system refuses, or a shape is too large to count.
    pub fn create(path: &Path, entries: &[StateEntry]) -> Result<Self, CheckpointError> {
        let mut plan = Vec::new();
        for entry in entries {
            let n_bytes = entry
                .shape
                .iter()
                .try_fold(entry.dtype.n_bytes(), |n, size| n.checked_mul(*size));
            plan.push(PlannedTensor {
                name: entry.name.clone(),
                dtype: entry.dtype,
                shape: entry.shape.clone(),
                n_bytes: n_bytes.ok_or_else(|| WriteError::TooLarge {
                    name: entry.name.clone(),
                    shape: entry.shape.clone(),
                })?,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file: WeightFile::create(path, &[("format", "pt")], &plan)?,
            plan,
        })
    }

    /// Writes one declared tensor.
    ///
    /// # Errors
    /// When it was not declared with this dtype and length, is already written, or the system
    /// refuses.
    pub fn write(&mut self, name: &str, values: &StateValues) -> Result<(), CheckpointError> {
        let owned = || name.to_owned();
        let planned = self.plan.iter().find(|planned| planned.name == name);
        let planned = planned.ok_or_else(|| WriteError::NotDeclared { name: owned() })?;
        if planned.dtype != values.dtype() {
            return Err(WriteError::Dtype {
                name: owned(),
                found: values.dtype(),
            }
            .into());
        }
        let expected = planned.n_bytes / planned.dtype.n_bytes();
        if values.len() != expected {
            return Err(WriteError::Length {
                name: owned(),
                unit: "values",
                expected,
                found: values.len(),
            }
            .into());
        }
        self.file.write(name, &values.to_bytes())
    }

    /// Checks that every declared tensor was written.
    ///
    /// # Errors
    /// When one is missing.
    pub fn finish(self) -> Result<(), CheckpointError> {
        Ok(self.file.finish(&self.path)?)
    }
}

/// A file of [`StateFileWriter`], opened: its header is checked, its tensors are read on demand.
#[derive(Debug)]
pub struct StateFile {
    shards: Shards,
    path: std::path::PathBuf,
}

impl StateFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When the system refuses, or the bytes break the format's rules.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Ok(Self {
            shards: Shards::single(Mapped::open(path)?)?,
            path: path.to_owned(),
        })
    }

    /// The tensors that there are, in order of name.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.shards.names()
    }

    /// The shape and the values of one tensor.
    ///
    /// # Errors
    /// When there is none of that name, or it is neither `F32` nor `U8`.
    pub fn read(&self, name: &str) -> Result<(Vec<usize>, StateValues), CheckpointError> {
        let (file, entry) = self.shards.find(name).ok_or_else(|| {
            let near = near_names(name, self.shards.names());
            CheckpointError::MissingTensor {
                name: name.to_owned(),
                path: self.path.clone(),
                near,
            }
        })?;
        let bytes = &file.bytes()[entry.range.clone()];
        let values = match entry.dtype {
            Dtype::U8 => Some(StateValues::U8(bytes.to_vec())),
            Dtype::F32 => decode(Dtype::F32, bytes).map(StateValues::F32),
            _ => None,
        };
        let values = values.ok_or_else(|| CheckpointError::WrongDtype {
            name: name.to_owned(),
            found: entry.dtype,
            path: self.path.clone(),
        })?;
        Ok((entry.shape.clone(), values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, dtype: Dtype, shape: &[usize]) -> StateEntry {
        StateEntry {
            name: name.into(),
            dtype,
            shape: shape.into(),
        }
    }

    #[test]
    fn every_bit_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let floats = vec![f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 4.0];
        let entries = [
            entry("moment", Dtype::F32, &[2, 2]),
            entry("codes", Dtype::U8, &[3]),
        ];
        let mut writer = StateFileWriter::create(&path, &entries).unwrap();
        let codes = StateValues::U8(vec![0, 7, 255]);
        writer.write("codes", &codes).unwrap();
        writer
            .write("moment", &StateValues::F32(floats.clone()))
            .unwrap();
        writer.finish().unwrap();

        let file = StateFile::open(&path).unwrap();
        assert_eq!(file.read("codes").unwrap(), (vec![3], codes));
        let (shape, StateValues::F32(found)) = file.read("moment").unwrap() else {
            panic!("floats went in");
        };
        assert_eq!(shape, [2, 2]);
        for (found, expected) in found.iter().zip(&floats) {
            assert_eq!(found.to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn what_was_not_declared_or_not_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let mut writer =
            StateFileWriter::create(&path, &[entry("moment", Dtype::F32, &[2])]).unwrap();
        let write = |writer: &mut StateFileWriter, name: &str, values| {
            writer.write(name, &values).unwrap_err().to_string()
        };
        let wrong = write(&mut writer, "other", StateValues::U8(vec![1]));
        assert!(wrong.contains("other"), "{wrong}");
        let wrong = write(&mut writer, "moment", StateValues::F32(vec![1.0; 3]));
        assert!(wrong.contains('3'), "{wrong}");
        let missing = writer.finish().unwrap_err().to_string();
        assert!(missing.contains("moment"), "{missing}");
    }
}

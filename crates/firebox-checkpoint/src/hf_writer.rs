//! Writes a Hugging Face directory, tensor by tensor.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde_json::Value;

use crate::{
    atomic::{AtomicDir, write_error},
    checkpoint::Checkpoint,
    dtype::Dtype,
    encoding::encode_weight,
    error::{CheckpointError, WriteError},
    packed_layout::{PackedEntry, PackedIndex, PackedLayout},
    safetensors::PlannedTensor,
    side_files::pretty_json,
    weight_file::WeightFile,
};

/// A Hugging Face directory in the making: nothing is seen at its path until [`HfWriter::finish`].
///
/// First every tensor is declared, then each is written once, in any order; only one is in memory at
/// a time. The file lists them by name, so its bytes depend on the contents alone.
///
/// # Examples
/// ```
/// use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("model");
/// let mut writer = HfWriter::create(&path)?;
/// writer.set_config(serde_json::json!({"model_type": "llama"}));
/// writer.declare("model.norm.weight", Dtype::BF16, &[2])?;
/// writer.write_tensor("model.norm.weight", &[1.0, 0.5])?;
/// writer.finish()?;
///
/// let checkpoint = Checkpoint::open(&path)?;
/// assert_eq!(checkpoint.tensor("model.norm.weight")?.data, [1.0, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HfWriter {
    dir: AtomicDir,
    plan: BTreeMap<String, PlannedTensor>,
    packed: PackedIndex,
    file: Option<WeightFile>,
    config: Option<Value>,
    side_files: BTreeMap<String, Vec<u8>>,
}

impl HfWriter {
    /// Begins a directory that will be at `dir`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(dir: &Path) -> Result<Self, CheckpointError> {
        Ok(Self {
            dir: AtomicDir::create(dir)?,
            plan: BTreeMap::new(),
            packed: PackedIndex::default(),
            file: None,
            config: None,
            side_files: BTreeMap::new(),
        })
    }

    /// Sets the `config.json`. What it says of packed tensors is replaced by what is written.
    pub fn set_config(&mut self, config: Value) {
        self.config = Some(config);
    }

    /// Chooses how packed weights lie in the files; Firebox's own way unless this is called, before
    /// anything is declared.
    pub fn set_packed_layout(&mut self, layout: PackedLayout) {
        self.packed = PackedIndex::new(layout);
    }

    /// Copies what lies beside the weights (tokenizer, chat template, generation config, licence) of
    /// an opened model, or makes it from the metadata of a GGUF file.
    ///
    /// # Errors
    /// When a file cannot be read, or the tokenizer of a GGUF file is of a kind that is not rebuilt.
    pub fn copy_side_files(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        self.side_files.extend(checkpoint.side_files()?);
        Ok(())
    }

    /// Adds a file beside the weights, such as `tokenizer.json`.
    pub fn set_side_file(&mut self, name: &str, bytes: Vec<u8>) {
        self.side_files.insert(name.to_owned(), bytes);
    }

    /// Plans a tensor of `F32`, `F16` or `BF16`, for [`HfWriter::write_tensor`].
    ///
    /// # Errors
    /// When the name is taken, the dtype another, or a tensor has been written already.
    pub fn declare(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<(), CheckpointError> {
        if dtype.torch_name().is_none() {
            return Err(WriteError::Dtype {
                name: name.to_owned(),
                found: dtype,
            }
            .into());
        }
        self.plan(name, dtype, shape)
    }

    /// Plans a tensor of any dtype, for [`HfWriter::write_bytes`].
    pub(crate) fn declare_bytes(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<(), CheckpointError> {
        self.plan(name, dtype, shape)
    }

    /// Plans a packed weight `[out, in]`, for [`HfWriter::write_packed`].
    ///
    /// # Errors
    /// When the name is taken, the format does not fit the shape or the layout, or a tensor has been
    /// written already.
    pub fn declare_packed(
        &mut self,
        name: &str,
        format: PackedFormat,
        shape: [usize; 2],
    ) -> Result<(), CheckpointError> {
        let entry = PackedEntry { format, shape };
        let wrong = |expected| WriteError::PackedDiffers {
            name: name.to_owned(),
            expected,
            found: format!("{format} {shape:?}"),
        };
        let parts = self.packed.parts(name, &entry);
        let parts = parts.ok_or_else(|| wrong(self.packed.expected(name, &entry)))?;
        if let Some(expected) = self.packed.clash(format) {
            return Err(wrong(expected).into());
        }
        for part in parts {
            self.plan(&part.name, part.dtype, &part.shape)?;
        }
        self.packed.insert(name, entry);
        Ok(())
    }

    /// Writes a declared tensor, rounding to its dtype.
    ///
    /// # Errors
    /// When it was not declared or is already written, the number of values is wrong, or a value is
    /// not finite or too large for the dtype.
    pub fn write_tensor(&mut self, name: &str, values: &[f32]) -> Result<(), CheckpointError> {
        let planned = self.planned(name)?;
        let (dtype, n_bytes) = (planned.dtype, planned.n_bytes);
        let expected = n_bytes / dtype.n_bytes();
        if values.len() != expected {
            let (name, found) = (name.to_owned(), values.len());
            return Err(WriteError::Length {
                name,
                unit: "values",
                expected,
                found,
            }
            .into());
        }
        let bytes = encode_weight(name, dtype, values)?;
        self.write_bytes(name, &bytes)
    }

    /// Writes a declared packed weight.
    ///
    /// # Errors
    /// When it was not declared with this format and shape, or is already written.
    pub fn write_packed(
        &mut self,
        name: &str,
        matrix: &PackedMatrix,
    ) -> Result<(), CheckpointError> {
        let declared = self
            .packed
            .get(name)
            .ok_or_else(|| WriteError::NotDeclared {
                name: name.to_owned(),
            })?;
        let shape = [matrix.n_rows(), matrix.n_cols()];
        let given = PackedEntry {
            format: matrix.format(),
            shape,
        };
        if given != *declared {
            let text = |entry: &PackedEntry| format!("{} {:?}", entry.format, entry.shape);
            let (expected, found) = (text(declared), text(&given));
            return Err(WriteError::PackedDiffers {
                name: name.to_owned(),
                expected,
                found,
            }
            .into());
        }
        let parts = self.packed.parts(name, &given).unwrap_or_default();
        let written: Vec<(String, Vec<u8>)> = parts
            .into_iter()
            .zip(self.packed.bytes(matrix))
            .map(|(part, bytes)| (part.name, bytes.into_owned()))
            .collect();
        for (part, bytes) in written {
            self.write_bytes(&part, &bytes)?;
        }
        Ok(())
    }

    /// Writes the little-endian bytes of a declared tensor.
    pub(crate) fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let expected = self.planned(name)?.n_bytes;
        if bytes.len() != expected {
            let (name, found) = (name.to_owned(), bytes.len());
            return Err(WriteError::Length {
                name,
                unit: "bytes",
                expected,
                found,
            }
            .into());
        }
        self.open_file()?.write(name, bytes)
    }

    /// Writes config and side files, forces all to the disk, and gives the directory its name.
    ///
    /// # Errors
    /// When a declared tensor was not written or no config set, or the directory exists and has
    /// files that would be lost.
    pub fn finish(mut self) -> Result<(), CheckpointError> {
        let target = self.dir.target().to_owned();
        let Some(mut config) = self.config.take() else {
            return Err(WriteError::NoConfig { path: target }.into());
        };
        self.open_file()?.finish(&target)?;
        if let Some(config) = config.as_object_mut() {
            let plain = self.plan.keys().map(String::as_str);
            let plain = plain.filter(|name| self.packed.get(name).is_none());
            self.packed.write_config(config, plain);
        }
        self.side_files
            .insert("config.json".to_owned(), pretty_json(&config));
        for (name, bytes) in &self.side_files {
            let path = self.dir.path().join(name);
            fs::write(&path, bytes).map_err(|source| write_error(&target.join(name), source))?;
        }
        self.dir.commit()
    }

    fn plan(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<(), CheckpointError> {
        let owned = || name.to_owned();
        if self.file.is_some() {
            return Err(WriteError::DeclaredLate { name: owned() }.into());
        }
        if self.plan.contains_key(name) {
            return Err(WriteError::DeclaredTwice { name: owned() }.into());
        }
        let n_bytes = shape
            .iter()
            .try_fold(dtype.n_bytes(), |n, size| n.checked_mul(*size));
        let n_bytes = n_bytes.ok_or_else(|| WriteError::TooLarge {
            name: owned(),
            shape: shape.to_vec(),
        })?;
        let tensor = PlannedTensor {
            name: owned(),
            dtype,
            shape: shape.to_vec(),
            n_bytes,
        };
        self.plan.insert(owned(), tensor);
        Ok(())
    }

    fn planned(&self, name: &str) -> Result<&PlannedTensor, WriteError> {
        self.plan.get(name).ok_or_else(|| WriteError::NotDeclared {
            name: name.to_owned(),
        })
    }

    /// The weight file, opened with its header when the plan is complete.
    fn open_file(&mut self) -> Result<&mut WeightFile, CheckpointError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut metadata = vec![("format", "pt")];
                metadata.extend(self.packed.header_mark());
                let plan: Vec<PlannedTensor> = self.plan.values().cloned().collect();
                WeightFile::create(&self.dir.path().join("model.safetensors"), &metadata, &plan)?
            }
        };
        Ok(self.file.insert(file))
    }
}

/// A whole safetensors file of small tensors, at once.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &[(PlannedTensor, Vec<u8>)],
) -> Result<(), CheckpointError> {
    let plan: Vec<PlannedTensor> = tensors.iter().map(|(planned, _)| planned.clone()).collect();
    let header = crate::safetensors::header_bytes(&[("format", "pt")], &plan);
    let error = |source| write_error(path, source);
    let mut file = fs::File::create(path).map_err(error)?;
    file.write_all(&header).map_err(error)?;
    for (_, bytes) in tensors {
        file.write_all(bytes).map_err(error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! A safetensors file whose tensors are written in any order, each to its place.

use std::{
    collections::HashMap,
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    atomic::write_error,
    error::{CheckpointError, WriteError},
    safetensors::{PlannedTensor, header_bytes},
};

#[derive(Debug)]
pub(crate) struct WeightFile {
    path: PathBuf,
    file: File,
    /// Where each tensor begins, until it is written.
    places: HashMap<String, Option<u64>>,
}

impl WeightFile {
    pub(crate) fn create(
        path: &Path,
        metadata: &[(&str, &str)],
        plan: &[PlannedTensor],
    ) -> Result<Self, CheckpointError> {
        let error = |source| write_error(path, source);
        let header = header_bytes(metadata, plan);
        let mut file = File::create(path).map_err(error)?;
        file.write_all(&header).map_err(error)?;
        let mut begin = header.len() as u64;
        let mut places = HashMap::new();
        for tensor in plan {
            places.insert(tensor.name.clone(), Some(begin));
            begin += tensor.n_bytes as u64;
        }
        file.set_len(begin).map_err(error)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            places,
        })
    }

    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let owned = || name.to_owned();
        let place = self
            .places
            .get_mut(name)
            .ok_or_else(|| WriteError::NotDeclared { name: owned() })?;
        let begin = place
            .take()
            .ok_or_else(|| WriteError::WrittenTwice { name: owned() })?;
        self.file
            .seek(SeekFrom::Start(begin))
            .and_then(|_| self.file.write_all(bytes))
            .map_err(|source| write_error(&self.path, source))
    }

    /// Checks that every tensor was written.
    pub(crate) fn finish(&self, target: &Path) -> Result<(), WriteError> {
        let left = |place: &Option<u64>| place.is_some();
        let missing = self
            .places
            .iter()
            .filter(|(_, place)| left(place))
            .map(|(name, _)| name);
        match missing.clone().min() {
            None => Ok(()),
            Some(first) => Err(WriteError::NotWritten {
                path: target.to_owned(),
                n_missing: missing.count(),
                first: first.clone(),
            }),
        }
    }
}

//! The tensors of one safetensors file, or of several under a `model.safetensors.index.json`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use serde::Deserialize;

use super::{SafetensorsHeader, TensorEntry};
use crate::{
    error::{CheckpointError, tame},
    mapped::Mapped,
    side_files::read_json_as,
};

/// Where each tensor lies, over all files.
#[derive(Debug)]
pub(crate) struct Shards {
    files: Vec<Arc<Mapped>>,
    tensors: BTreeMap<String, (usize, TensorEntry)>,
    metadata: BTreeMap<String, String>,
}

/// The part of an index that matters.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// One file.
    pub(crate) fn single(file: Mapped) -> Result<Self, CheckpointError> {
        let header = parse(&file)?;
        let tensors = header
            .tensors
            .into_iter()
            .map(|(name, entry)| (name, (0, entry)))
            .collect();
        Ok(Self {
            files: vec![Arc::new(file)],
            tensors,
            metadata: header.metadata,
        })
    }

    /// Every file that the index names, each opened once.
    pub(crate) fn indexed(index_path: &Path) -> Result<Self, CheckpointError> {
        let index: Index = read_json_as(index_path)?;
        let dir = index_path.parent().unwrap_or(Path::new("."));
        let mut shards = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        let mut opened: HashMap<String, (usize, SafetensorsHeader)> = HashMap::new();
        for (name, file_name) in index.weight_map {
            if !is_plain(&file_name) {
                let (path, found) = (index_path.to_owned(), tame(&file_name));
                return Err(CheckpointError::ShardName { path, name, found });
            }
            if !opened.contains_key(&file_name) {
                let file = Mapped::open(&dir.join(&file_name))?;
                let header = parse(&file)?;
                shards.metadata.extend(header.metadata.clone());
                opened.insert(file_name.clone(), (shards.files.len(), header));
                shards.files.push(Arc::new(file));
            }
            let (at, header) = &opened[&file_name];
            let Some(entry) = header.tensors.get(&name) else {
                let path = dir.join(&file_name);
                let near = crate::near_names::near_names(&name, header.tensors.keys());
                return Err(CheckpointError::MissingTensor { name, path, near });
            };
            shards.tensors.insert(name, (*at, entry.clone()));
        }
        Ok(shards)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name).map(|(_, entry)| entry)
    }

    /// The file that holds the tensor, and its entry.
    pub(crate) fn find(&self, name: &str) -> Option<(&Mapped, &TensorEntry)> {
        self.tensors
            .get(name)
            .map(|(at, entry)| (&*self.files[*at], entry))
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.bytes().len() as u64)
            .sum()
    }
}

fn parse(file: &Mapped) -> Result<SafetensorsHeader, CheckpointError> {
    SafetensorsHeader::parse(file.bytes())
        .map_err(|error| CheckpointError::malformed(file.path(), error))
}

/// A file name and nothing else: no separator, no parent, no hidden file.
fn is_plain(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.contains(['/', '\\', '\0']) && !name.starts_with('.')
}

//! Adapters that requests name as their model, loaded and unloaded while the server runs.
//!
//! They lie in one folder that whoever runs the server chose, each in a folder of its own: a request
//! names one of those and never a path. An adapter that is unloaded, or replaced, stays for the requests
//! that began with it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use firebox_checkpoint::read_adapter;
use firebox_engine::TextEngine;
use firebox_model::HostAdapter;

use crate::{
    app::unix_seconds,
    error::{backticked, clipped, whole_story},
};

/// What an adapter's folder holds.
const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Why an adapter is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The server was started without a folder of adapters.
    #[error("this server has no folder of adapters (hint: start it with `--adapters DIR`)")]
    NoFolder,
    /// The folder cannot be read.
    #[error("folder of adapters `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No adapter of the folder is called so.
    #[error(
        "adapter `{name}`: expected one of the server's folder, which has {}",
        list(known)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It has the model's own name.
    #[error("adapter `{name}`: expected another name than the model's (hint: rename its folder)")]
    Name {
        /// The name of both.
        name: String,
    },
    /// It is not loaded.
    #[error("adapter `{name}` is not loaded")]
    NotLoaded {
        /// What was asked for.
        name: String,
    },
    /// As many as may be are loaded.
    #[error(
        "adapter `{name}`: {max} are loaded already (hint: unload one, or start with `--max-adapters`)"
    )]
    TooMany {
        /// What was asked for.
        name: String,
        /// How many may be loaded.
        max: usize,
    },
    /// Its files cannot be used, or it does not go with the model.
    #[error("adapter `{name}`: {reason}")]
    Unusable {
        /// The adapter.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The adapters of a served model.
#[derive(Debug, Default)]
pub(crate) struct Adapters {
    folder: Option<PathBuf>,
    max: usize,
    loaded: RwLock<BTreeMap<String, Arc<ServedAdapter>>>,
    /// One is loaded at a time.
    loading: Mutex<()>,
}

/// A loaded one. Every request that began with it holds it.
#[derive(Debug)]
pub(crate) struct ServedAdapter {
    pub(crate) weights: Arc<HostAdapter>,
    pub(crate) rank: usize,
    pub(crate) loaded_unix: u64,
    stamp: Stamp,
}

/// Tells a file from what it was before: its length and when it was written, of each file.
type Stamp = [Option<(u64, SystemTime)>; FILES.len()];

impl Adapters {
    pub(crate) fn new(folder: PathBuf, max: usize) -> Self {
        Self {
            folder: Some(folder),
            max,
            ..Self::default()
        }
    }

    /// How many may be loaded.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Those that are loaded, by their names, each with the number of its requests.
    pub(crate) fn loaded(&self) -> Vec<(String, Arc<ServedAdapter>, usize)> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let one = |(name, adapter): (&String, &Arc<ServedAdapter>)| {
            let n_requests = Arc::strong_count(adapter) - 1;
            (name.clone(), Arc::clone(adapter), n_requests)
        };
        loaded.iter().map(one).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<ServedAdapter>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.get(name).map(Arc::clone)
    }

    /// The names that can be loaded: those of folders with an adapter's config.
    pub(crate) fn known(&self) -> Result<Vec<String>, AdapterError> {
        let folder = self.folder.as_deref().ok_or(AdapterError::NoFolder)?;
        let failed = |source| AdapterError::Folder {
            path: folder.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().into_string();
            // What begins with a dot is on its way there.
            let name = name.ok().filter(|name| !name.starts_with('.'));
            if let Some(name) = name.filter(|_| entry.path().join(FILES[0]).is_file()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Loads an adapter of the folder, again if it is loaded.
    pub(crate) fn load(
        &self,
        name: &str,
        model: &str,
        engine: &dyn TextEngine,
    ) -> Result<Arc<ServedAdapter>, AdapterError> {
        let known = self.known()?;
        if name != model && !known.iter().any(|known| known == name) {
            let name = clipped(name);
            return Err(AdapterError::Unknown { name, known });
        }
        self.load_known(name, model, engine)
    }

    /// Loads one whose name was found in the folder.
    fn load_known(
        &self,
        name: &str,
        model: &str,
        engine: &dyn TextEngine,
    ) -> Result<Arc<ServedAdapter>, AdapterError> {
        if name == model {
            return Err(AdapterError::Name {
                name: name.to_owned(),
            });
        }
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = self.find(name).is_none() && self.loaded().len() >= self.max;
        if is_full {
            let (name, max) = (name.to_owned(), self.max);
            return Err(AdapterError::TooMany { name, max });
        }
        let adapter = Arc::new(self.read(name, engine)?);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(name.to_owned(), Arc::clone(&adapter));
        Ok(adapter)
    }

    fn read(&self, name: &str, engine: &dyn TextEngine) -> Result<ServedAdapter, AdapterError> {
        let path = self.folder.as_deref().map(|folder| folder.join(name));
        let path = path.ok_or(AdapterError::NoFolder)?;
        let stamp = stamp(&path);
        let unusable = |reason| AdapterError::Unusable {
            name: name.to_owned(),
            reason,
        };
        let read = read_adapter(&path).map_err(|error| unusable(whole_story(&error)))?;
        let weights = engine.load_adapter(&read);
        let weights = weights.map_err(|error| unusable(whole_story(&error)))?;
        Ok(ServedAdapter {
            weights,
            rank: read.config.r,
            loaded_unix: unix_seconds(),
            stamp,
        })
    }

    pub(crate) fn unload(&self, name: &str) -> Result<(), AdapterError> {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        match loaded.remove(name) {
            Some(_) => Ok(()),
            None => Err(AdapterError::NotLoaded {
                name: clipped(name),
            }),
        }
    }

    /// Makes what is loaded what the folder has: new and changed adapters are loaded, those that are
    /// gone unloaded. Gives what could not be; what was loaded before then stays.
    pub(crate) fn read_again(
        &self,
        model: &str,
        engine: &dyn TextEngine,
    ) -> Result<Vec<AdapterError>, AdapterError> {
        let known = self.known()?;
        for (name, _, _) in self.loaded() {
            if !known.contains(&name) {
                // Someone else may have unloaded it first.
                let _ = self.unload(&name);
            }
        }
        let mut failed = Vec::new();
        for name in known {
            let path = self.folder.as_deref().map(|folder| folder.join(&name));
            let now = path.as_deref().map(stamp);
            if self.find(&name).map(|adapter| adapter.stamp) == now {
                continue;
            }
            failed.extend(self.load_known(&name, model, engine).err());
        }
        Ok(failed)
    }
}

fn list(names: &[String]) -> String {
    match names.is_empty() {
        true => "none".to_owned(),
        false => backticked(names.iter().map(String::as_str)),
    }
}

fn stamp(path: &Path) -> Stamp {
    FILES.map(|name| {
        let file = fs::metadata(path.join(name)).ok()?;
        Some((file.len(), file.modified().ok()?))
    })
}

//! The folder of a run: metrics, checkpoints, and which of them is the best.
//!
//! ```text
//! runs/ID/
//!   metrics.jsonl                  a line per step and evaluation, as they happen
//!   checkpoints/step-00000120/     state.json, params.safetensors, optimizer.safetensors
//!   best.json                      the evaluation with the lowest loss, and its checkpoint
//!   lock                           held by the process that writes
//! ```

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use firebox_checkpoint::write_atomic;
use serde::{Deserialize, Serialize};

use crate::run_error::RunError;

const CHECKPOINTS: &str = "checkpoints";
const PREFIX: &str = "step-";
const BEST: &str = "best.json";

/// When checkpoints are written, and which are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// After every so many steps, after the last, and when a run is stopped.
    pub every_n_steps: usize,
    /// The newest so many are kept; the best one besides.
    pub n_kept: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every_n_steps: 100,
            n_kept: 2,
        }
    }
}

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The step after which it was made.
    pub step: usize,
    /// Its loss.
    pub loss: f64,
}

/// A run's folder, held by this process until it is dropped, where it was [opened](RunFolder::open).
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Unlocked when the file is closed, however the process ends.
    _lock: Option<File>,
}

impl RunFolder {
    /// Opens a folder, making it if it is missing, and sweeps up what a killed process left half
    /// written.
    ///
    /// # Errors
    /// When another process holds the folder, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let error = |path: &Path| {
            let path = path.to_owned();
            |source| RunError::Write { path, source }
        };
        let checkpoints = path.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(error(&checkpoints))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(error(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RunError::Busy {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(&lock_path)(source)),
        }
        let folder = Self {
            path: path.to_owned(),
            _lock: Some(lock),
        };
        folder.sweep()?;
        Ok(folder)
    }

    /// A folder that another rank holds, to read its checkpoints; nothing may be written.
    pub fn look_at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metrics, one JSON object a line.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Where the checkpoint of a step is, or would be.
    pub fn checkpoint_path(&self, step: usize) -> PathBuf {
        self.path
            .join(CHECKPOINTS)
            .join(format!("{PREFIX}{step:08}"))
    }

    /// The steps of all checkpoints, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<usize>, RunError> {
        let mut steps: Vec<usize> = self
            .entries()?
            .iter()
            .filter_map(|path| {
                path.file_name()?
                    .to_str()?
                    .strip_prefix(PREFIX)?
                    .parse()
                    .ok()
            })
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Whether a new run may begin here.
    ///
    /// # Errors
    /// When there is a checkpoint of another run, or the folder cannot be read.
    pub fn check_new(&self) -> Result<(), RunError> {
        match self.checkpoints()?.pop() {
            None => Ok(()),
            Some(last_step) => Err(RunError::Occupied {
                path: self.path.clone(),
                last_step,
            }),
        }
    }

    /// The best evaluation so far, if there was one.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn best(&self) -> Result<Option<Best>, RunError> {
        let path = self.path.join(BEST);
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(best) => Ok(Some(best)),
                Err(source) => Err(RunError::Json { path, source }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RunError::Read { path, source }),
        }
    }

    /// Writes which evaluation is the best, or that none is.
    pub(crate) fn set_best(&self, best: Option<Best>) -> Result<(), RunError> {
        let path = self.path.join(BEST);
        match best {
            Some(best) => {
                let bytes = serde_json::to_vec(&best).expect("plain data has a JSON form");
                Ok(write_atomic(&path, &bytes)?)
            }
            None => match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(RunError::Write { path, source })
                }
                _ => Ok(()),
            },
        }
    }

    /// Deletes all but the newest `n_kept` checkpoints and the best one.
    pub(crate) fn rotate(&self, n_kept: usize, best: Option<Best>) -> Result<(), RunError> {
        let steps = self.checkpoints()?;
        let n_old = steps.len().saturating_sub(n_kept.max(1));
        for step in &steps[..n_old] {
            if best.is_none_or(|best| best.step != *step) {
                self.remove(*step)?;
            }
        }
        Ok(())
    }

    /// Under another name first: what is half deleted is never taken for a checkpoint.
    fn remove(&self, step: usize) -> Result<(), RunError> {
        let path = self.checkpoint_path(step);
        let doomed = self
            .path
            .join(CHECKPOINTS)
            .join(format!(".{PREFIX}{step:08}.tmp"));
        fs::rename(&path, &doomed)
            .and_then(|()| fs::remove_dir_all(&doomed))
            .map_err(|source| RunError::Write { path, source })
    }

    /// Deletes temporary directories: no process but this one writes here.
    fn sweep(&self) -> Result<(), RunError> {
        for path in self.entries()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                fs::remove_dir_all(&path).map_err(|source| RunError::Write {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<PathBuf>, RunError> {
        let path = self.path.join(CHECKPOINTS);
        let entries = fs::read_dir(&path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>, _>>()
        });
        entries.map_err(|source| RunError::Read { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_half_written_checkpoints_are_swept_up() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join(CHECKPOINTS).join(".step-00000007.Xy12.tmp");
        fs::create_dir_all(&half).unwrap();
        let folder = RunFolder::open(dir.path()).unwrap();
        assert!(!half.exists());
        let busy = RunFolder::open(dir.path()).unwrap_err();
        assert!(matches!(busy, RunError::Busy { .. }), "{busy}");
        drop(folder);
        RunFolder::open(dir.path()).unwrap();
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(dir.path()).unwrap();
        for step in [10, 20, 30, 40] {
            fs::create_dir(folder.checkpoint_path(step)).unwrap();
        }
        let best = Best {
            step: 20,
            loss: 0.5,
        };
        folder.set_best(Some(best)).unwrap();
        folder.rotate(1, Some(best)).unwrap();
        assert_eq!(folder.checkpoints().unwrap(), [20, 40]);
        assert_eq!(folder.best().unwrap(), Some(best));
    }
}

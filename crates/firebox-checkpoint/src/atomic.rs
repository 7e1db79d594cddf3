//! Files and directories that appear whole or not at all.
//!
//! Everything is written under another name in the same directory, forced to the disk, and renamed.
//! A process that dies at any moment leaves the old file or the new one, never half of one. What it
//! had under the other name is deleted by the next that writes the same: names that nobody holds a lock
//! on are abandoned.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::{CheckpointError, WriteError};

/// Of temporary names.
const SUFFIX: &str = ".tmp";
/// Their random characters.
const N_RANDOM: usize = 12;
/// How often one is made, where others delete it at once.
const MAX_TRIES: usize = 100;

/// Writes `bytes` to `path`, replacing what was there.
///
/// # Errors
/// When the system refuses; the old file is then untouched.
///
/// # Examples
/// ```
/// let dir = tempfile::tempdir()?;
/// firebox_checkpoint::write_atomic(&dir.path().join("config.json"), b"{}")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)
        .map_err(|source| write_error(path, source))?;
    file.commit()
}

/// A file that takes its name when it is committed. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    file: NamedTempFile,
}

impl AtomicFile {
    /// Opens a temporary file beside `target`, making the directory if it is missing, and deletes what
    /// killed processes left for the same target.
    ///
    /// # Errors
    /// When `target` has no file name, or the system refuses.
    pub fn create(target: &Path) -> Result<Self, CheckpointError> {
        let (parent, prefix) = place(target)?;
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(N_RANDOM);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // Less the umask.
        let make = || {
            let file = builder.tempfile_in(&parent)?;
            lock(file.as_file());
            Ok((file.path().to_owned(), file))
        };
        let file = held(make).map_err(|source| write_error(target, source))?;
        Ok(Self {
            target: target.to_owned(),
            file,
        })
    }

    /// Lets nobody but the file's owner read it, where the system has owners.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn make_private(&self) -> Result<(), CheckpointError> {
        #[cfg(unix)]
        self.file
            .as_file()
            .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(|source| write_error(&self.target, source))?;
        Ok(())
    }

    /// Forces the bytes to the disk and gives the file its name.
    ///
    /// # Errors
    /// When the system refuses; the old file is then untouched.
    pub fn commit(self) -> Result<(), CheckpointError> {
        let error = |source| write_error(&self.target, source);
        self.file.as_file().sync_all().map_err(error)?;
        self.file
            .persist(&self.target)
            .map_err(|refused| error(refused.error))?;
        sync_parent(&self.target).map_err(error)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A directory that takes its name when it is committed. Dropped before, it leaves nothing.
///
/// A directory that has the name already is replaced only when the new one has every file that the
/// old one has: nothing that is not rewritten is ever deleted.
#[derive(Debug)]
pub struct AtomicDir {
    target: PathBuf,
    dir: TempDir,
    /// Some systems do not open directories.
    _lock: Option<File>,
}

impl AtomicDir {
    /// Makes a temporary directory beside `target`, and deletes what killed processes left for it.
    ///
    /// # Errors
    /// When `target` has no name, or the system refuses.
    pub fn create(target: &Path) -> Result<Self, CheckpointError> {
        let (parent, prefix) = place(target)?;
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(N_RANDOM);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777)); // Less the umask.
        let make = || {
            let dir = builder.tempdir_in(&parent)?;
            let handle = File::open(dir.path()).ok();
            handle.iter().for_each(lock);
            Ok((dir.path().to_owned(), (dir, handle)))
        };
        let (dir, lock) = held(make).map_err(|source| write_error(target, source))?;
        Ok(Self {
            target: target.to_owned(),
            dir,
            _lock: lock,
        })
    }

    /// Where the files go until then.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the directory will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Forces every file to the disk and gives the directory its name.
    ///
    /// # Errors
    /// When the target has files that would be lost, or the system refuses; the old directory is
    /// then untouched.
    pub fn commit(self) -> Result<(), CheckpointError> {
        let error = |source| write_error(&self.target, source);
        let replaces = self.check_target()?;
        for entry in fs::read_dir(self.dir.path()).map_err(error)? {
            let path = entry.map_err(error)?.path();
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(error)?;
        }
        if replaces {
            // The older directory takes the temporary name, and goes with it.
            exchange(self.dir.path(), &self.target).map_err(error)?;
            sync_parent(&self.target).map_err(error)?;
            match self.dir.close() {
                // Another that writes the same found it abandoned.
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
                closed => closed.map_err(|source| write_error(&self.target, source)),
            }
        } else {
            fs::rename(self.dir.path(), &self.target).map_err(error)?;
            let _ = self.dir.keep(); // It has moved away: there is nothing left to delete.
            sync_parent(&self.target).map_err(|source| write_error(&self.target, source))
        }
    }

    /// Whether there is a directory to replace; an error if it must not be.
    fn check_target(&self) -> Result<bool, CheckpointError> {
        let error = |source| write_error(&self.target, source);
        match fs::symlink_metadata(&self.target) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(error(source)),
            Ok(metadata) if !metadata.is_dir() => {
                let extra = "a file or link of that name".to_owned();
                return Err(WriteError::Occupied {
                    path: self.target.clone(),
                    extra,
                }
                .into());
            }
            Ok(_) => {}
        }
        for entry in fs::read_dir(&self.target).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            if !self.dir.path().join(&name).exists() {
                let extra = name.to_string_lossy().into_owned();
                return Err(WriteError::Occupied {
                    path: self.target.clone(),
                    extra,
                }
                .into());
            }
        }
        Ok(true)
    }
}

/// The directory of `target`, made if it is missing, and a prefix for temporary names in it.
fn place(target: &Path) -> Result<(PathBuf, String), CheckpointError> {
    let name = target
        .file_name()
        .ok_or_else(|| WriteError::NoName {
            path: target.to_owned(),
        })?
        .to_string_lossy();
    let prefix = format!(".{}.", name.chars().take(80).collect::<String>());
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(|source| write_error(&parent, source))?;
    delete_abandoned(&parent, &prefix);
    Ok((parent, prefix))
}

/// Says that a temporary file or directory is being written; waits for whoever is about to delete it.
fn lock(file: &File) {
    // Where there are no locks, nothing is found to be abandoned either.
    while file
        .lock()
        .is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
    {}
}

/// What `make` makes and locks, made again where another process deleted it before it was locked.
fn held<T>(make: impl Fn() -> io::Result<(PathBuf, T)>) -> io::Result<T> {
    for _ in 0..MAX_TRIES {
        let (path, made) = make()?;
        if path.try_exists()? {
            return Ok(made);
        }
    }
    Err(io::Error::other(format!(
        "expected a temporary name beside it to stay, found {MAX_TRIES} deleted as they were made (hint: \
         does something else clean this folder?)"
    )))
}

/// Deletes what killed processes left; whatever does not work is left alone.
fn delete_abandoned(parent: &Path, prefix: &str) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        if !is_temporary(&entry.file_name(), prefix) {
            continue;
        }
        let Ok(file) = File::open(&path) else {
            continue;
        };
        // Beside the old version of a directory lies the whole new one: the exchange was cut off.
        let is_whole = || path.with_extension("old").exists();
        if file.try_lock().is_ok() && !is_whole() {
            // The lock is held until it is gone.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
        }
    }
}

/// Whether it is the prefix, what `tempfile` makes up, and [`SUFFIX`].
fn is_temporary(name: &OsStr, prefix: &str) -> bool {
    let middle = name
        .to_str()
        .and_then(|name| name.strip_prefix(prefix)?.strip_suffix(SUFFIX));
    middle.is_some_and(|middle| {
        middle.len() == N_RANDOM && middle.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(new: &Path, target: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(_) => exchange_in_steps(new, target), // Some file systems cannot swap.
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(new: &Path, target: &Path) -> io::Result<()> {
    exchange_in_steps(new, target)
}

/// Between its steps the target is missing, but both versions are on the disk.
fn exchange_in_steps(new: &Path, target: &Path) -> io::Result<()> {
    let old = new.with_extension("old");
    fs::rename(target, &old)?;
    if let Err(error) = fs::rename(new, target) {
        fs::rename(&old, target)?;
        return Err(error);
    }
    fs::rename(&old, new)
}

/// A rename is on the disk once its directory is.
fn sync_parent(target: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let parent = target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;

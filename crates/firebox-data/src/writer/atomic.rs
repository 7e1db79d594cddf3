//! A file that appears whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file that takes its name when it is committed. Dropped before, it leaves nothing.
#[derive(Debug)]
pub(super) struct AtomicFile {
    target: PathBuf,
    file: NamedTempFile,
}

impl AtomicFile {
    /// Opens a temporary file beside `target`, making the folder if it is missing.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{}.", name.chars().take(80).collect::<String>());
        let parent = parent_of(target);
        std::fs::create_dir_all(parent)?;
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // Less the umask.
        Ok(Self {
            target: target.to_path_buf(),
            file: builder.tempfile_in(parent)?,
        })
    }

    /// Forces the bytes to the disk and gives the file its name; gives back its size in bytes.
    pub(super) fn commit(self) -> io::Result<u64> {
        self.file.as_file().sync_all()?;
        let n_bytes = self.file.as_file().metadata()?.len();
        self.file
            .persist(&self.target)
            .map_err(|refused| refused.error)?;
        if cfg!(unix) {
            // A rename is on the disk once its folder is.
            File::open(parent_of(&self.target))?.sync_all()?;
        }
        Ok(n_bytes)
    }
}

fn parent_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
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

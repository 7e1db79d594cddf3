//! The bytes of a shard, mapped into memory: the one place with `unsafe`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use memmap2::Mmap;

use super::ShardError;

/// A whole file, readable as a slice.
#[derive(Debug)]
pub(super) struct MappedFile {
    map: Mmap,
    file: File,
    modified: Option<SystemTime>,
}

impl MappedFile {
    /// Maps a regular file that is not empty.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            let reason = "expected a regular file with contents";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(Self {
            map: map(&file)?,
            modified: metadata.modified().ok(),
            file,
        })
    }

    /// The bytes, if the file still has the size and the time that it had when it was opened.
    /// Reading past the end of a file that shrank would end the process.
    pub(super) fn unchanged_bytes(&self, path: &Path) -> Result<&[u8], ShardError> {
        let is_same = self.file.metadata().is_ok_and(|metadata| {
            metadata.len() == self.map.len() as u64 && metadata.modified().ok() == self.modified
        });
        if is_same {
            return Ok(&self.map);
        }
        Err(ShardError::Changed {
            path: path.to_path_buf(),
        })
    }
}

#[expect(unsafe_code, reason = "a memory map is unsafe by nature")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is private and read-only. That nobody shortens or rewrites the file meanwhile
    // cannot be enforced; `unchanged_bytes` re-checks its size and time before each document is read,
    // and every read is of plain bytes, for which any value is valid.
    unsafe { Mmap::map(file) }
}

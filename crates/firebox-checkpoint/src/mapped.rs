//! The bytes of a file, mapped into memory: the one place with `unsafe`.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::SystemTime,
};

use memmap2::{Mmap, UncheckedAdvice};

use crate::error::CheckpointError;

/// Linux brings in the pages beside the one that is read, up to borders of so many bytes.
const FAULT_AROUND: usize = 64 << 10;

/// A whole file, readable as a slice. Nothing may assume that the slice is aligned.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Map {
        map: Mmap,
        file: File,
        modified: Option<SystemTime>,
    },
    Memory(Vec<u8>),
}

impl Mapped {
    /// Maps a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let error = |source| CheckpointError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(error)?;
        let metadata = file.metadata().map_err(error)?;
        if !metadata.is_file() {
            return Err(error(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            )));
        }
        let backing = if metadata.len() == 0 {
            Backing::Memory(Vec::new()) // An empty map is an error on most systems.
        } else {
            let map = map(&file).map_err(error)?;
            Backing::Map {
                map,
                modified: metadata.modified().ok(),
                file,
            }
        };
        Ok(Self {
            path: path.to_owned(),
            backing,
        })
    }

    /// Bytes that are in memory already; `path` is for messages.
    pub(crate) fn from_bytes(path: &Path, bytes: Vec<u8>) -> Self {
        Self {
            path: path.to_owned(),
            backing: Backing::Memory(bytes),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.backing {
            Backing::Map { map, .. } => map,
            Backing::Memory(bytes) => bytes,
        }
    }

    /// The bytes, if the file still has the size and the time that it had when it was opened.
    /// Reading past the end of a file that shrank would end the process.
    pub(crate) fn unchanged_bytes(&self) -> Result<&[u8], CheckpointError> {
        if let Backing::Map {
            map,
            file,
            modified,
        } = &self.backing
        {
            let same = file.metadata().is_ok_and(|metadata| {
                metadata.len() == map.len() as u64 && metadata.modified().ok() == *modified
            });
            if !same {
                return Err(CheckpointError::Changed {
                    path: self.path.clone(),
                });
            }
        }
        Ok(self.bytes())
    }

    /// Tells the system that the range was read and will not be soon again, so that a pass over a
    /// large file does not count as resident memory.
    pub(crate) fn release(&self, range: Range<usize>) {
        if let Backing::Map { map, .. } = &self.backing
            && !range.is_empty()
        {
            // Of addresses, not of places in the file.
            let before = map.as_ptr().addr() % FAULT_AROUND;
            let start = (before + range.start) / FAULT_AROUND * FAULT_AROUND;
            let end = (before + range.end).next_multiple_of(FAULT_AROUND) - before;
            release(map, start.saturating_sub(before)..end.min(map.len()));
        }
    }
}

#[expect(unsafe_code, reason = "a memory map is unsafe by nature")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is private and read-only. That nobody shortens or rewrites the file meanwhile
    // cannot be enforced; `unchanged_bytes` re-checks its size and time before each tensor is read,
    // and every read is of plain bytes, for which any value is valid.
    unsafe { Mmap::map(file) }
}

#[expect(
    unsafe_code,
    reason = "the advice is unsafe for maps that were written to"
)]
fn release(map: &Mmap, range: Range<usize>) {
    if range.start >= range.end || range.end > map.len() {
        return;
    }
    // SAFETY: the range lies within the map, which is read-only and backed by a file: dropped pages
    // are read again from the file, with the same bytes. A refusal changes nothing.
    let _ = unsafe {
        map.unchecked_advise_range(
            UncheckedAdvice::DontNeed,
            range.start,
            range.end - range.start,
        )
    };
}

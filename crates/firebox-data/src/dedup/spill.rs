//! Hashes in order, more than memory holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::error::DedupError;

/// A hash by which documents are grouped.
pub(super) trait Key: Copy + Ord + Send + Sync {
    /// Its length in a file.
    const N_BYTES: usize;
    fn write(self, to: &mut Vec<u8>);
    fn read(from: &[u8]) -> Self;
}

impl Key for u64 {
    const N_BYTES: usize = 8;

    fn write(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &[u8]) -> Self {
        let mut bytes = [0; Self::N_BYTES];
        bytes.copy_from_slice(from);
        Self::from_le_bytes(bytes)
    }
}

impl Key for u128 {
    const N_BYTES: usize = 16;

    fn write(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &[u8]) -> Self {
        let mut bytes = [0; Self::N_BYTES];
        bytes.copy_from_slice(from);
        Self::from_le_bytes(bytes)
    }
}

/// Pairs of a hash and a document's number, given out in order.
///
/// Pairs wait in memory until [`spill`](Self::spill) sorts them into a run at the end of a file, which has
/// no name and disappears with the process. [`Sorted`] merges the runs.
#[derive(Debug)]
pub(super) struct KeyedDocuments<K> {
    waiting: Vec<(K, u32)>,
    file: Option<File>,
    runs: Vec<Run>,
}

/// A sorted part of the file, in bytes.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: u64,
    end: u64,
}

impl<K: Key> KeyedDocuments<K> {
    /// What a pair takes in memory.
    pub(super) const WAITING_BYTES: u64 = size_of::<(K, u32)>() as u64;
    /// What a pair takes in a file.
    pub(super) const FILE_BYTES: u64 = (K::N_BYTES + 4) as u64;
    /// What is written at once.
    const WRITE_BYTES: usize = 1 << 18;

    pub(super) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            file: None,
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, key: K, document: u32) {
        self.waiting.push((key, document));
    }

    /// Moves what waits in memory to a file in this folder.
    pub(super) fn spill(&mut self, folder: &Path) -> Result<(), DedupError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.waiting.sort_unstable();
        let n_bytes = self.waiting.len() as u64 * Self::FILE_BYTES;
        let start = self.runs.last().map_or(0, |run| run.end);
        if self.file.is_none() {
            self.file = Some(new_file(folder)?);
        }
        if let Some(file) = &mut self.file {
            write_pairs(file, &self.waiting).map_err(|source| DedupError::WriteSpill {
                folder: folder.to_owned(),
                n_bytes,
                bytes_per_document: Self::FILE_BYTES,
                source,
            })?;
        }
        self.runs.push(Run {
            start,
            end: start + n_bytes,
        });
        self.waiting.clear();
        Ok(())
    }

    /// All pairs in order, read back with `buffer_bytes` of memory for all runs together (4 KiB a run at
    /// least).
    pub(super) fn into_sorted(
        mut self,
        folder: &Path,
        buffer_bytes: u64,
    ) -> Result<Sorted<K>, DedupError> {
        if !self.runs.is_empty() {
            self.spill(folder)?;
            self.waiting = Vec::new();
        }
        let Some(file) = self.file else {
            self.waiting.sort_unstable();
            return Ok(Sorted::Memory(self.waiting.into_iter()));
        };
        let per_run = (buffer_bytes / self.runs.len().max(1) as u64).clamp(4 << 10, 1 << 20);
        let block_bytes = per_run / Self::FILE_BYTES * Self::FILE_BYTES;
        let mut merge = Merge {
            file,
            folder: folder.to_owned(),
            runs: Vec::new(),
            heads: BinaryHeap::new(),
            block_bytes,
        };
        for (i, run) in self.runs.iter().enumerate() {
            merge.runs.push(RunReader {
                rest: *run,
                block: Vec::new(),
                at: 0,
            });
            merge.advance(i)?;
        }
        Ok(Sorted::File(Box::new(merge)))
    }
}

/// A new file in the folder that is gone when it is closed.
pub(super) fn new_file(folder: &Path) -> Result<File, DedupError> {
    tempfile::tempfile_in(folder).map_err(|source| DedupError::CreateSpill {
        folder: folder.to_owned(),
        source,
    })
}

fn write_pairs<K: Key>(file: &mut File, pairs: &[(K, u32)]) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(KeyedDocuments::<K>::WRITE_BYTES);
    for part in pairs.chunks(KeyedDocuments::<K>::WRITE_BYTES / (K::N_BYTES + 4)) {
        buffer.clear();
        for (key, document) in part {
            key.write(&mut buffer);
            buffer.extend_from_slice(&document.to_le_bytes());
        }
        file.write_all(&buffer)?;
    }
    Ok(())
}

/// Pairs in order, from memory or from the runs of a file.
pub(super) enum Sorted<K> {
    Memory(std::vec::IntoIter<(K, u32)>),
    File(Box<Merge<K>>),
}

impl<K: Key> Sorted<K> {
    /// The next pair.
    pub(super) fn next(&mut self) -> Result<Option<(K, u32)>, DedupError> {
        match self {
            Self::Memory(pairs) => Ok(pairs.next()),
            Self::File(merge) => merge.next(),
        }
    }
}

/// Several sorted runs, read as one.
pub(super) struct Merge<K> {
    file: File,
    folder: std::path::PathBuf,
    runs: Vec<RunReader>,
    /// The first pair of each run that is not at its end, the least on top.
    heads: BinaryHeap<Reverse<((K, u32), usize)>>,
    block_bytes: u64,
}

struct RunReader {
    /// What was not read yet.
    rest: Run,
    block: Vec<u8>,
    /// The next pair in the block.
    at: usize,
}

impl<K: Key> Merge<K> {
    fn next(&mut self) -> Result<Option<(K, u32)>, DedupError> {
        let Some(Reverse((pair, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(run)?;
        Ok(Some(pair))
    }

    /// Puts the next pair of a run among the heads.
    fn advance(&mut self, run: usize) -> Result<(), DedupError> {
        let reader = &mut self.runs[run];
        if reader.at == reader.block.len() {
            reader.at = 0;
            let n_bytes = self.block_bytes.min(reader.rest.end - reader.rest.start);
            reader.block.resize(n_bytes as usize, 0);
            let offset = reader.rest.start;
            read_at(&mut self.file, offset, &mut reader.block).map_err(|source| {
                DedupError::ReadSpill {
                    folder: self.folder.clone(),
                    offset,
                    n_bytes,
                    source,
                }
            })?;
            reader.rest.start += n_bytes;
        }
        let bytes = &reader.block[reader.at..];
        if let Some((key, rest)) = bytes.split_at_checked(K::N_BYTES) {
            let mut document = [0; 4];
            document.copy_from_slice(&rest[..4]);
            let pair = (K::read(key), u32::from_le_bytes(document));
            reader.at += K::N_BYTES + 4;
            self.heads.push(Reverse((pair, run)));
        }
        Ok(())
    }
}

/// Reads a part of a file.
pub(super) fn read_at(file: &mut File, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(into)
}

#[cfg(test)]
mod tests;

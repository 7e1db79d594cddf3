//! The signatures of all documents, for checking candidates.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::DedupError;
use super::min_hash::share_of_equals;
use super::spill::{new_file, read_at};

/// Signatures of equal length by document number, in memory or, past a limit, in a file.
#[derive(Debug)]
pub(super) struct Signatures {
    n_hashes: usize,
    waiting: Vec<u32>,
    spilled: Option<Spilled>,
}

#[derive(Debug)]
struct Spilled {
    file: Mutex<File>,
    folder: PathBuf,
    n_bytes: u64,
}

impl Signatures {
    pub(super) fn new(n_hashes: usize) -> Self {
        Self {
            n_hashes,
            waiting: Vec::new(),
            spilled: None,
        }
    }

    /// Adds the signature of the next document; an empty one is a text without words.
    pub(super) fn push(&mut self, minima: &[u32]) {
        let end = self.waiting.len() + self.n_hashes;
        self.waiting.extend_from_slice(minima);
        // `NO_WORDS` is found in no other signature: documents without words have no bands either.
        self.waiting.resize(end, NO_WORDS);
    }

    /// Moves what waits in memory to a file in this folder.
    pub(super) fn spill(&mut self, folder: &Path) -> Result<(), DedupError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let n_bytes = 4 * self.waiting.len() as u64;
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled {
                file: Mutex::new(new_file(folder)?),
                folder: folder.to_owned(),
                n_bytes: 0,
            }),
        };
        let file = spilled
            .file
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        write_numbers(file, &self.waiting).map_err(|source| DedupError::WriteSpill {
            folder: folder.to_owned(),
            n_bytes,
            bytes_per_document: 4 * self.n_hashes as u64,
            source,
        })?;
        spilled.n_bytes += n_bytes;
        self.waiting.clear();
        Ok(())
    }

    /// The estimated Jaccard similarity of two documents.
    pub(super) fn estimated_jaccard(&self, left: u32, right: u32) -> Result<f64, DedupError> {
        Ok(share_of_equals(&self.of(left)?, &self.of(right)?))
    }

    fn of(&self, document: u32) -> Result<Vec<u32>, DedupError> {
        let n_bytes = 4 * self.n_hashes as u64;
        let mut offset = n_bytes * u64::from(document);
        if let Some(spilled) = &self.spilled {
            if offset < spilled.n_bytes {
                return spilled.read(offset, n_bytes);
            }
            offset -= spilled.n_bytes;
        }
        let start = (offset / 4) as usize;
        Ok(self.waiting[start..start + self.n_hashes].to_vec())
    }
}

/// Fills the signature of a text without words.
const NO_WORDS: u32 = u32::MAX;

impl Spilled {
    fn read(&self, offset: u64, n_bytes: u64) -> Result<Vec<u32>, DedupError> {
        let mut bytes = vec![0; n_bytes as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        read_at(&mut file, offset, &mut bytes).map_err(|source| DedupError::ReadSpill {
            folder: self.folder.clone(),
            offset,
            n_bytes,
            source,
        })?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .collect())
    }
}

fn write_numbers(file: &mut File, numbers: &[u32]) -> std::io::Result<()> {
    for part in numbers.chunks(1 << 16) {
        let bytes: Vec<u8> = part
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        file.write_all(&bytes)?;
    }
    Ok(())
}

//! A part of what was kept: its documents and their fingerprints, in files of their own.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::block_job::BlockDone;
use super::report::Tally;
use super::work_folder::WorkFolder;
use super::{CleanError, CleanJob};
use crate::dedup::{DocumentFacts, Fingerprint};
use crate::writer::RecordWriter;

/// A part that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) n_documents: u64,
    /// Size of its file of documents.
    pub(super) n_bytes: u64,
}

/// A part being written.
pub(super) struct PartWriter {
    documents: RecordWriter,
    fingerprints: Option<FingerprintFile>,
}

struct FingerprintFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    record: Vec<u8>,
}

impl PartWriter {
    pub(super) fn begin(
        folder: &WorkFolder,
        job: &CleanJob<'_>,
        part: usize,
    ) -> Result<Self, CleanError> {
        let documents = RecordWriter::create(folder.part(part, job), folder.part_options(job))?;
        let fingerprints = match job.recipe.dedup {
            Some(_) => Some(FingerprintFile::create(folder, part)?),
            None => None,
        };
        Ok(Self {
            documents,
            fingerprints,
        })
    }

    /// Adds what is next in the order of the input.
    pub(super) fn write(
        &mut self,
        tally: &mut Tally,
        done: BlockDone<'_>,
    ) -> Result<(), CleanError> {
        if let Some(file) = &mut self.fingerprints {
            for (fingerprint, facts) in &done.fingerprints {
                file.write(fingerprint, *facts)?;
            }
        }
        let chunk = tally.add(done);
        Ok(self.documents.write_chunk(chunk)?)
    }

    /// Both files are on the disk then.
    pub(super) fn finish(self) -> Result<Part, CleanError> {
        if let Some(fingerprints) = self.fingerprints {
            fingerprints.finish()?;
        }
        let written = self.documents.finish()?;
        Ok(Part {
            n_documents: written.n_documents,
            n_bytes: written.n_bytes,
        })
    }
}

impl FingerprintFile {
    fn create(folder: &WorkFolder, part: usize) -> Result<Self, CleanError> {
        let path = folder.fingerprints(part);
        let file = NamedTempFile::new_in(folder.path()).map_err(at(&path))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            record: Vec::new(),
        })
    }

    fn write(&mut self, fingerprint: &Fingerprint, facts: DocumentFacts) -> Result<(), CleanError> {
        self.record.clear();
        self.record.extend(facts.n_bytes.to_le_bytes());
        self.record
            .extend(facts.year.unwrap_or(u16::MAX).to_le_bytes());
        fingerprint.append_to(&mut self.record);
        let n_bytes = u32::try_from(self.record.len()).unwrap_or(u32::MAX);
        let written = self.file.write_all(&n_bytes.to_le_bytes());
        written
            .and_then(|()| self.file.write_all(&self.record))
            .map_err(at(&self.path))
    }

    fn finish(self) -> Result<(), CleanError> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| error.into_error());
        let file = file.map_err(at(&path))?;
        file.as_file().sync_all().map_err(at(&path))?;
        file.persist(&path)
            .map_err(|error| error.error)
            .map_err(at(&path))?;
        Ok(())
    }
}

/// Calls `each` with the fingerprints of a part, in order.
pub(super) fn read_fingerprints(
    path: &Path,
    mut each: impl FnMut(&Fingerprint, DocumentFacts) -> Result<(), CleanError>,
) -> Result<(), CleanError> {
    let file = File::open(path).map_err(at(path))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut record = Vec::new();
    let mut n_bytes = [0; 4];
    while file.read(&mut n_bytes[..1]).map_err(at(path))? == 1 {
        file.read_exact(&mut n_bytes[1..]).map_err(at(path))?;
        record.clear();
        let n = u64::from(u32::from_le_bytes(n_bytes));
        (&mut file)
            .take(n)
            .read_to_end(&mut record)
            .map_err(at(path))?;
        let damaged = || CleanError::Damaged {
            path: path.to_path_buf(),
        };
        let (n_text_bytes, rest) = record.split_first_chunk().ok_or_else(damaged)?;
        let (year, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let year = u16::from_le_bytes(*year);
        let facts = DocumentFacts {
            n_bytes: u64::from_le_bytes(*n_text_bytes),
            year: (year != u16::MAX).then_some(year),
        };
        let fingerprint = Fingerprint::read_from(rest).ok_or_else(damaged)?;
        each(&fingerprint, facts)?;
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> CleanError {
    let path = path.to_path_buf();
    move |source| CleanError::WorkFile { path, source }
}

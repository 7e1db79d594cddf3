//! The folder beside the output that holds a job's unfinished work.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{CleanError, CleanJob};
use crate::source::{Compression, Format};
use crate::writer::{ChunkMaker, WriteOptions};

/// zstd's level for parts that are read again: they live for minutes.
const PART_LEVEL: i32 = 1;

pub(super) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    /// `corpus.jsonl.zst.work` beside `corpus.jsonl.zst`.
    pub(super) fn path_for(output: &Path) -> PathBuf {
        let mut name = output
            .file_name()
            .map_or_else(OsString::new, OsString::from);
        name.push(".work");
        output.with_file_name(name)
    }

    /// Makes it where it is not there yet.
    pub(super) fn open(output: &Path) -> Result<Self, CleanError> {
        let path = Self::path_for(output);
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(CleanError::WorkFolder { path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn state_file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    pub(super) fn fingerprints(&self, part: usize) -> PathBuf {
        self.path.join(format!("part-{part:05}.fingerprints"))
    }

    pub(super) fn part(&self, part: usize, job: &CleanJob<'_>) -> PathBuf {
        let suffix = match self.part_compression(job) {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        self.path.join(format!("part-{part:05}.jsonl{suffix}"))
    }

    /// Whether the output is a table.
    pub(super) fn has_columns(&self, job: &CleanJob<'_>) -> bool {
        matches!(Format::from_name(job.output), Some((Format::Parquet, _)))
    }

    /// Whether parts are the output as they are, one behind the other.
    pub(super) fn parts_are_output(&self, job: &CleanJob<'_>) -> bool {
        job.recipe.dedup.is_none() && !self.has_columns(job)
    }

    fn part_compression(&self, job: &CleanJob<'_>) -> Compression {
        match Format::from_name(job.output) {
            Some((_, compression)) if self.parts_are_output(job) => compression,
            _ => Compression::Zstd,
        }
    }

    pub(super) fn part_options(&self, job: &CleanJob<'_>) -> WriteOptions {
        let options = self.output_options(job);
        match self.parts_are_output(job) {
            true => options,
            false => WriteOptions {
                zstd_level: PART_LEVEL,
                ..options
            },
        }
    }

    pub(super) fn output_options(&self, job: &CleanJob<'_>) -> WriteOptions {
        WriteOptions {
            text_field: job.sources.options().fields.text.clone(),
            ..WriteOptions::default()
        }
    }

    /// What makes the chunks of parts.
    pub(super) fn part_chunks(&self, job: &CleanJob<'_>) -> Result<ChunkMaker, CleanError> {
        // A wrong name of the output is found here, before anything is read.
        ChunkMaker::for_file(job.output, self.output_options(job))?;
        Ok(ChunkMaker::for_file(
            &self.part(0, job),
            self.part_options(job),
        )?)
    }

    /// Removes it with all that is in it.
    pub(super) fn remove(self) -> Result<(), CleanError> {
        fs::remove_dir_all(&self.path).map_err(|source| CleanError::WorkFolder {
            path: self.path,
            source,
        })
    }
}

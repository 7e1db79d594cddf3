//! How far a job is, as the work folder says it.

use std::fs;
use std::io::Write;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::xxh3_128;

use super::part::Part;
use super::report::Tally;
use super::work_folder::WorkFolder;
use super::{CleanError, CleanJob, CleanReport};
use crate::dedup::DedupReport;

/// The version of the state that is read and written.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// What files, as they were, and what recipe this is the state of.
    job: String,
    /// Blocks whose documents are in whole parts.
    pub(super) n_blocks: u64,
    pub(super) parts: Vec<Part>,
    /// Whether everything was read.
    pub(super) is_read: bool,
    pub(super) tally: Tally,
}

impl State {
    /// The state in the folder; or that of a job that is to begin, with `tally` of nothing.
    ///
    /// # Errors
    /// If the folder holds another job's work, or cannot be read.
    pub(super) fn load_or_new(
        folder: &WorkFolder,
        job: &CleanJob<'_>,
        tally: Tally,
    ) -> Result<Self, CleanError> {
        let path = folder.state_file();
        let name = job_name(job);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    version: VERSION,
                    job: name,
                    n_blocks: 0,
                    parts: Vec::new(),
                    is_read: false,
                    tally,
                });
            }
            Err(source) => return Err(CleanError::WorkFile { path, source }),
        };
        let state: Self =
            serde_json::from_str(&text).map_err(|source| CleanError::State { path, source })?;
        if state.version != VERSION || state.job != name {
            return Err(CleanError::OtherJob {
                folder: folder.path().to_path_buf(),
            });
        }
        state.check_parts(folder, job)?;
        Ok(state)
    }

    fn check_parts(&self, folder: &WorkFolder, job: &CleanJob<'_>) -> Result<(), CleanError> {
        for (i, part) in self.parts.iter().enumerate() {
            let path = folder.part(i, job);
            let found = fs::metadata(&path).map(|metadata| metadata.len());
            if found.ok() != Some(part.n_bytes) {
                return Err(CleanError::Damaged { path });
            }
        }
        Ok(())
    }

    /// Replaces the state in the folder.
    pub(super) fn save(&self, folder: &WorkFolder) -> Result<(), CleanError> {
        let path = folder.state_file();
        let write = || -> std::io::Result<()> {
            let mut file = NamedTempFile::new_in(folder.path())?;
            serde_json::to_writer(&mut file, self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| CleanError::WorkFile {
            path: path.clone(),
            source,
        })
    }
}

impl State {
    /// What became of the corpus.
    pub(super) fn report(
        self,
        job: &CleanJob<'_>,
        dedup: Option<DedupReport>,
        n_written: u64,
    ) -> CleanReport {
        let tally = self.tally;
        CleanReport {
            files: job.sources.files().to_vec(),
            output: job.output.to_path_buf(),
            n_records: tally.broken.n_records(),
            n_broken: tally.broken.n_broken(),
            broken: tally.broken.samples().to_vec(),
            n_without_text: tally.n_without_text,
            rules: tally.rules,
            decontaminate: tally.decontaminate,
            dedup,
            n_written,
            lengths: tally.lengths,
            languages: tally.languages,
        }
    }
}

/// A hash of all that the result depends on: the recipe, how files are read, and each file's path, size
/// and time of change.
fn job_name(job: &CleanJob<'_>) -> String {
    let mut text = format!(
        "{} {:?} {:?} {:?} {}\n",
        env!("CARGO_PKG_VERSION"),
        job.sources.options(),
        job.recipe,
        job.broken,
        job.output.display(),
    );
    for file in job.sources.files() {
        let metadata = fs::metadata(file).ok();
        let size = metadata.as_ref().map(fs::Metadata::len);
        let changed = metadata.and_then(|metadata| metadata.modified().ok());
        text.push_str(&format!("{} {size:?} {changed:?}\n", file.display()));
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

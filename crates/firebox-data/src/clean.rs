//! Cleaning a corpus: rules, decontamination and deduplication over files, as a recipe says.
//!
//! The files are read block by block on all threads. What the rules keep goes to a work folder beside the
//! output, in parts; each part that is whole is noted there with all counts so far, so a job that was
//! killed goes on behind its last part. Once everything was read, duplicates are found among the
//! fingerprints of what was kept, and the output is written without them. Counts, samples and the
//! output's bytes depend on the files and the recipe alone: not on threads, nor on interruptions.

mod block_job;
mod error;
mod finish;
mod in_order;
mod part;
mod report;
mod state;
mod work_folder;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use error::CleanError;
pub use report::{CleanReport, Histogram};

use block_job::BlockJob;
pub use in_order::in_order;
use part::PartWriter;
use report::Tally;
use state::State;
use work_folder::WorkFolder;

use crate::source::{Block, BrokenCount, BrokenLimit, SourceError, Sources};
use crate::{EvaluationIndex, Recipe};

/// Blocks of a part: about 64 MiB of input.
const BLOCKS_PER_PART: u64 = 16;

/// What to clean.
#[derive(Debug, Clone)]
pub struct CleanJob<'a> {
    /// What happens to the documents.
    pub recipe: &'a Recipe,
    /// The files to read.
    pub sources: &'a Sources,
    /// How many broken records are too many.
    pub broken: BrokenLimit,
    /// The file to write, `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or (feature `parquet`) `.parquet`. Until it is
    /// whole, the folder of the same name with `.work` behind it holds what was done.
    pub output: &'a Path,
    /// Threads to work on; at least one.
    pub n_threads: usize,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanProgress {
    /// What is being done.
    pub stage: CleanStage,
    /// Bytes of the files read so far, as they are on disk (while reading), or documents written.
    pub n_done: u64,
    /// All of them, where that is known.
    pub n_total: Option<u64>,
    /// Documents read so far.
    pub n_documents: u64,
    /// Documents kept so far.
    pub n_kept: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanStage {
    /// The files are read, and the rules applied.
    Reading,
    /// Duplicates are found.
    Deduplicating,
    /// The output is written.
    Writing,
}

/// Cleans a corpus; goes on where the same job was interrupted. `progress` hears how far it is, and may
/// stop it with [`ControlFlow::Break`]: what was done is kept for the next time.
///
/// # Errors
/// [`CleanError`]; the output is then not there, or what it was before.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use firebox_data::{BrokenLimit, CleanJob, Recipe, SourceOptions, Sources, clean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (input, output) = (folder.path().join("notes.jsonl"), folder.path().join("clean.jsonl"));
/// std::fs::write(&input, "{\"text\": \"Fire is hot.\"}\n{\"text\": \"Hm.\"}\n{\"text\": \"Fire  is hot.\"}\n")?;
/// let recipe = "version = 1\n[[rule]]\nkind = \"min-words\"\nmin = 2\n[dedup]\nfind = \"exact\"";
/// let recipe = Recipe::from_toml(recipe)?;
/// let sources = Sources::list([&input], SourceOptions::default())?;
/// let job = CleanJob {
///     recipe: &recipe,
///     sources: &sources,
///     broken: BrokenLimit::default(),
///     output: &output,
///     n_threads: 2,
/// };
/// let report = clean(&job, |_| ControlFlow::Continue(()))?;
/// assert_eq!((report.rules.n_documents, report.rules.n_kept, report.n_written), (3, 2, 1));
/// assert_eq!(std::fs::read_to_string(&output)?, "{\"text\": \"Fire is hot.\"}\n");
/// # Ok(())
/// # }
/// ```
pub fn clean(
    job: &CleanJob<'_>,
    mut progress: impl FnMut(&CleanProgress) -> ControlFlow<()> + Send,
) -> Result<CleanReport, CleanError> {
    let folder = WorkFolder::open(job.output)?;
    let index = match &job.recipe.decontaminate {
        Some(config) => Some(EvaluationIndex::read(config)?),
        None => None,
    };
    let block_job = BlockJob::new(job, index.as_ref(), &folder)?;
    let nothing = Tally::new(
        block_job.no_counts(),
        BrokenCount::new(job.broken),
        index.as_ref(),
    );
    let mut state = State::load_or_new(&folder, job, nothing)?;
    if !state.is_read {
        read(job, &block_job, &folder, &mut state, &mut progress)?;
    }
    let report = finish::finish(job, &folder, state, &mut progress)?;
    folder.remove()?;
    Ok(report)
}

/// Reads what was not read yet.
fn read(
    job: &CleanJob<'_>,
    block_job: &BlockJob<'_>,
    folder: &WorkFolder,
    state: &mut State,
    progress: &mut (impl FnMut(&CleanProgress) -> ControlFlow<()> + Send),
) -> Result<(), CleanError> {
    let n_bytes_read = AtomicU64::new(0);
    let n_total = job.sources.total_bytes();
    let mut blocks = job.sources.blocks();
    for _ in 0..state.n_blocks {
        // The input is the same, so these blocks were read before.
        if blocks.next().transpose()?.is_none() {
            break;
        }
    }
    let blocks = std::iter::from_fn(|| {
        let block: Option<Result<Block, SourceError>> = blocks.next();
        n_bytes_read.store(blocks.n_bytes_read(), Ordering::Relaxed);
        block.map(|block| block.map_err(CleanError::from))
    });
    let mut part = PartWriter::begin(folder, job, state.parts.len())?;
    in_order(
        job.n_threads.max(1),
        blocks,
        |block| block_job.run(&block),
        |done| {
            part.write(&mut state.tally, done)?;
            state.n_blocks += 1;
            if state.n_blocks.is_multiple_of(BLOCKS_PER_PART) {
                let next = PartWriter::begin(folder, job, state.parts.len() + 1)?;
                state
                    .parts
                    .push(std::mem::replace(&mut part, next).finish()?);
                state.save(folder)?;
            }
            state.tally.broken.check_limit()?;
            let so_far = CleanProgress {
                stage: CleanStage::Reading,
                n_done: n_bytes_read.load(Ordering::Relaxed),
                n_total,
                n_documents: state.tally.rules.n_documents,
                n_kept: state.tally.rules.n_kept,
            };
            stop_if_asked(progress(&so_far), folder)
        },
    )?;
    state.tally.broken.check_at_end()?;
    state.parts.push(part.finish()?);
    state.is_read = true;
    state.save(folder)
}

fn stop_if_asked(flow: ControlFlow<()>, folder: &WorkFolder) -> Result<(), CleanError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(CleanError::Stopped {
            folder: folder.path().to_path_buf(),
        }),
    }
}

/// The folder of a job's unfinished work.
#[must_use]
pub fn clean_work_folder(output: &Path) -> PathBuf {
    WorkFolder::path_for(output)
}

#[cfg(test)]
mod tests;

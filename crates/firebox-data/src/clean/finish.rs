//! From parts to the output.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::part::read_fingerprints;
use super::state::State;
use super::work_folder::WorkFolder;
use super::{
    CleanError, CleanJob, CleanProgress, CleanReport, CleanStage, in_order, stop_if_asked,
};
use crate::dedup::{Clusters, DedupConfig, DedupReport, Duplicate, Duplicates};
use crate::source::{Block, FieldNames, SourceOptions, Sources};
use crate::writer::{Chunk, ChunkMaker, RecordWriter, SealedChunk};

/// Finds duplicates and writes the output.
pub(super) fn finish(
    job: &CleanJob<'_>,
    folder: &WorkFolder,
    state: State,
    progress: &mut (impl FnMut(&CleanProgress) -> ControlFlow<()> + Send),
) -> Result<CleanReport, CleanError> {
    let mut so_far = CleanProgress {
        stage: CleanStage::Deduplicating,
        n_done: 0,
        n_total: Some(state.parts.iter().map(|part| part.n_documents).sum()),
        n_documents: state.tally.rules.n_documents,
        n_kept: state.tally.rules.n_kept,
    };
    let found = match &job.recipe.dedup {
        Some(config) => {
            stop_if_asked(progress(&so_far), folder)?;
            Some((config, find_duplicates(config, job, folder, &state)?))
        }
        None => None,
    };
    so_far.stage = CleanStage::Writing;
    let mut output = RecordWriter::create(job.output, folder.output_options(job))?;
    let mut dedup = None;
    if folder.parts_are_output(job) {
        for (i, part) in state.parts.iter().enumerate() {
            output.append_file(&folder.part(i, job), part.n_documents)?;
            so_far.n_done += part.n_documents;
            stop_if_asked(progress(&so_far), folder)?;
        }
    } else {
        let clusters = found.as_ref().map(|(_, clusters)| clusters);
        let sample = found.as_ref().map_or_else(Vec::new, |(config, clusters)| {
            clusters.sample(&config.check)
        });
        let writing = Writing {
            job,
            chunks: output.chunks(),
            clusters,
            asked_for: sample
                .iter()
                .flat_map(|pair| [pair.document, pair.kept])
                .collect(),
            has_columns: folder.has_columns(job),
        };
        let texts = writing.write(folder, &state, &mut output, |n_done| {
            so_far.n_done = n_done;
            stop_if_asked(progress(&so_far), folder)
        })?;
        dedup = match found {
            Some((config, clusters)) => Some(report(config, &clusters, &sample, &texts)?),
            None => None,
        };
    }
    let written = output.finish()?;
    Ok(state.report(job, dedup, written.n_documents))
}

fn find_duplicates(
    config: &DedupConfig,
    job: &CleanJob<'_>,
    folder: &WorkFolder,
    state: &State,
) -> Result<Clusters, CleanError> {
    let mut duplicates = Duplicates::new(config, Some(folder.path()))?;
    for part in 0..state.parts.len() {
        read_fingerprints(&folder.fingerprints(part), |fingerprint, facts| {
            duplicates.push(fingerprint, facts)?;
            Ok(())
        })?;
    }
    Ok(in_pool(job.n_threads, || duplicates.finish())?)
}

fn report(
    config: &DedupConfig,
    clusters: &Clusters,
    sample: &[Duplicate],
    texts: &HashMap<u64, String>,
) -> Result<DedupReport, CleanError> {
    let mut report = DedupReport::new(clusters);
    let text_of = |document| {
        texts
            .get(&document)
            .map(|text| Cow::Borrowed(text.as_str()))
    };
    report.check(config, sample, text_of)?;
    Ok(report)
}

/// Writing documents of parts anew, those that stay.
struct Writing<'a> {
    job: &'a CleanJob<'a>,
    chunks: ChunkMaker,
    clusters: Option<&'a Clusters>,
    /// Documents whose texts are wanted.
    asked_for: HashSet<u64>,
    has_columns: bool,
}

/// What became of a block of a part.
struct Rewritten {
    chunk: SealedChunk,
    n_documents: u64,
    texts: Vec<(u64, String)>,
}

impl Writing<'_> {
    /// Gives the texts that were asked for.
    fn write(
        &self,
        folder: &WorkFolder,
        state: &State,
        output: &mut RecordWriter,
        mut progress: impl FnMut(u64) -> Result<(), CleanError> + Send,
    ) -> Result<HashMap<u64, String>, CleanError> {
        let mut n_done = 0;
        let mut first = 0;
        let mut texts = HashMap::new();
        for (i, part) in state.parts.iter().enumerate() {
            let sources = Sources::list([folder.part(i, self.job)], self.part_options())?;
            in_order(
                self.job.n_threads.max(1),
                sources
                    .blocks()
                    .map(|block| block.map_err(CleanError::from)),
                |block| self.rewrite(first, &block),
                |done: Rewritten| {
                    output.write_chunk(done.chunk)?;
                    texts.extend(done.texts);
                    n_done += done.n_documents;
                    progress(n_done)
                },
            )?;
            first += part.n_documents;
        }
        Ok(texts)
    }

    fn part_options(&self) -> SourceOptions {
        let options = self.job.sources.options();
        SourceOptions {
            format: None,
            // Documents of a table were written under our own names.
            fields: match self.has_columns {
                true => FieldNames::default(),
                false => options.fields.clone(),
            },
            max_record_bytes: u64::MAX,
            ..options.clone()
        }
    }

    /// `first` is the number of the part's first document.
    fn rewrite(&self, first: u64, block: &Block) -> Result<Rewritten, CleanError> {
        let first = first + block.first_number() - 1;
        let mut chunk = self.chunks.chunk();
        let (n_documents, has_wanted) = match self.has_columns {
            true => self.rewrite_rows(first, block, &mut chunk)?,
            false => self.rewrite_lines(first, block, &mut chunk)?,
        };
        let mut texts = Vec::new();
        if has_wanted {
            for (number, document) in (first..).zip(block.documents()) {
                if self.asked_for.contains(&number) {
                    let document = document.map_err(|_| self.damaged(block))?;
                    texts.push((number, document.text.into_owned()));
                }
            }
        }
        Ok(Rewritten {
            chunk: chunk.seal()?,
            n_documents,
            texts,
        })
    }

    /// How many documents the block has, and whether one of them is asked for.
    fn rewrite_lines(
        &self,
        first: u64,
        block: &Block,
        chunk: &mut Chunk,
    ) -> Result<(u64, bool), CleanError> {
        let (mut number, mut has_wanted) = (first, false);
        for line in block.lines().ok_or_else(|| self.damaged(block))? {
            let line = line.map_err(|_| self.damaged(block))?;
            if self.stays(number) {
                chunk.push_line(line.text);
            }
            has_wanted |= self.asked_for.contains(&number);
            number += 1;
        }
        Ok((number - first, has_wanted))
    }

    /// The same for a table.
    fn rewrite_rows(
        &self,
        first: u64,
        block: &Block,
        chunk: &mut Chunk,
    ) -> Result<(u64, bool), CleanError> {
        let (mut number, mut has_wanted) = (first, false);
        for document in block.documents() {
            let document = document.map_err(|_| self.damaged(block))?;
            if self.stays(number) {
                chunk.push(&document)?;
            }
            has_wanted |= self.asked_for.contains(&number);
            number += 1;
        }
        Ok((number - first, has_wanted))
    }

    fn stays(&self, document: u64) -> bool {
        self.clusters
            .is_none_or(|clusters| !clusters.is_dropped(document))
    }

    fn damaged(&self, block: &Block) -> CleanError {
        CleanError::Damaged {
            path: block.path().to_path_buf(),
        }
    }
}

/// Runs with so many threads, where they can be had.
fn in_pool<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
    {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

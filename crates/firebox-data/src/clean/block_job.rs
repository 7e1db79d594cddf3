//! What is done with one block, on any thread.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::report::Histogram;
use super::work_folder::WorkFolder;
use super::{CleanError, CleanJob};
use crate::Document;
use crate::decontaminate::{ContaminatedAction, Contamination, EvaluationIndex};
use crate::dedup::{DocumentFacts, Fingerprint, Fingerprinter};
use crate::filter::{Outcome, RuleCounts, Rules, identify_language};
use crate::source::{Block, BrokenCount, BrokenLimit};
use crate::writer::{Chunk, ChunkMaker, SealedChunk};

/// Samples of each rule in the report.
const N_SAMPLES: usize = 5;

/// All that a thread needs to work on blocks.
pub(super) struct BlockJob<'i> {
    rules: Rules,
    fingerprinter: Option<Fingerprinter>,
    index: Option<&'i EvaluationIndex>,
    drops_contaminated: bool,
    broken: BrokenLimit,
    chunks: ChunkMaker,
    /// Whether documents keep the JSON that they were read from: not where the output has columns.
    keeps_source: bool,
    file_numbers: HashMap<PathBuf, u32>,
}

/// What became of a block.
pub(super) struct BlockDone<'i> {
    pub(super) rules: RuleCounts,
    pub(super) broken: BrokenCount,
    pub(super) n_skipped: u64,
    /// The documents that stay, sealed.
    pub(super) chunk: SealedChunk,
    /// What deduplication needs of each of them; empty without it.
    pub(super) fingerprints: Vec<(Fingerprint, DocumentFacts)>,
    /// What each document that the rules kept has of the evaluation sets; empty without them.
    pub(super) contaminations: Vec<Option<Contamination<'i>>>,
    /// Characters of the documents that stay.
    pub(super) lengths: Histogram,
    /// Their languages.
    pub(super) languages: BTreeMap<&'static str, u64>,
}

/// What is kept of a block, so far.
struct Kept<'i> {
    chunk: Chunk,
    fingerprints: Vec<(Fingerprint, DocumentFacts)>,
    contaminations: Vec<Option<Contamination<'i>>>,
    lengths: Histogram,
    languages: BTreeMap<&'static str, u64>,
}

impl<'i> BlockJob<'i> {
    /// # Errors
    /// If rules or deduplication cannot be set up, or the output's name says no format.
    pub(super) fn new(
        job: &CleanJob<'_>,
        index: Option<&'i EvaluationIndex>,
        folder: &WorkFolder,
    ) -> Result<Self, CleanError> {
        let recipe = job.recipe;
        let dedup = recipe.dedup.as_ref();
        let action = recipe.decontaminate.as_ref().map(|config| config.action);
        let files = job.sources.files().iter();
        Ok(Self {
            rules: recipe.build_rules()?,
            fingerprinter: dedup.map(Fingerprinter::new).transpose()?,
            index,
            drops_contaminated: action == Some(ContaminatedAction::Drop),
            broken: job.broken,
            chunks: folder.part_chunks(job)?,
            keeps_source: !folder.has_columns(job),
            file_numbers: files.cloned().zip(0..).collect(),
        })
    }

    /// Counts of nothing.
    pub(super) fn no_counts(&self) -> RuleCounts {
        RuleCounts::new(&self.rules, N_SAMPLES)
    }

    /// Reads a block, and keeps what is to be kept.
    pub(super) fn run(&self, block: &Block) -> Result<BlockDone<'i>, CleanError> {
        let file = self.file_numbers.get(block.path()).copied().unwrap_or(0);
        let mut broken = BrokenCount::new(self.broken);
        let mut rules = self.no_counts();
        let mut kept = Kept {
            chunk: self.chunks.chunk(),
            fingerprints: Vec::new(),
            contaminations: Vec::new(),
            lengths: Histogram::default(),
            languages: BTreeMap::new(),
        };
        let mut documents = block.documents();
        for document in &mut documents {
            let Some(document) = broken.check(document) else {
                continue;
            };
            match self.rules.apply_counted(document, file, &mut rules) {
                Outcome::Kept(document) => self.keep(document, &mut kept)?,
                Outcome::Dropped { .. } => {}
            }
        }
        Ok(BlockDone {
            rules,
            broken,
            n_skipped: documents.n_skipped(),
            chunk: kept.chunk.seal()?,
            fingerprints: kept.fingerprints,
            contaminations: kept.contaminations,
            lengths: kept.lengths,
            languages: kept.languages,
        })
    }

    fn keep(&self, mut document: Document<'_>, kept: &mut Kept<'i>) -> Result<(), CleanError> {
        if let Some(index) = self.index {
            let found = index.find(&document.text);
            let is_dropped = found.is_some() && self.drops_contaminated;
            kept.contaminations.push(found);
            if is_dropped {
                return Ok(());
            }
        }
        if let Some(fingerprinter) = &self.fingerprinter {
            let facts = DocumentFacts {
                n_bytes: document.text.len() as u64,
                year: document.year,
            };
            let fingerprint = fingerprinter.fingerprint(&document.text);
            kept.fingerprints.push((fingerprint, facts));
        }
        kept.lengths.add(document.text.chars().count() as u64);
        *kept
            .languages
            .entry(identify_language(&document.text).code)
            .or_default() += 1;
        if !self.keeps_source {
            document.source = None;
        }
        kept.chunk.push(&document)?;
        Ok(())
    }
}

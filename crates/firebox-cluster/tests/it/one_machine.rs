//! The recipe on one machine, straight from `firebox-data`'s parts: what every engine must equal.

use std::borrow::Cow;
use std::path::Path;

use firebox_data::filter::{Outcome, RuleCounts};
use firebox_data::{
    BrokenCount, BrokenLimit, Clusters, DedupConfig, Document, DocumentFacts, Duplicates,
    Fingerprinter, Recipe, RecordWriter, SourceOptions, Sources, WriteOptions,
};

/// What one machine makes of the inputs.
pub(crate) struct Expected {
    pub(crate) n_records: u64,
    pub(crate) n_broken: u64,
    pub(crate) n_skipped: u64,
    pub(crate) rules: RuleCounts,
    pub(crate) n_exact: u64,
    pub(crate) n_near: u64,
    /// What stays, in the order of the input: id, text, year and whether its record is as it was read.
    pub(crate) written: Vec<Written>,
}

/// A document as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) id: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) text: String,
    pub(crate) year: Option<u16>,
    pub(crate) mesh_terms: Vec<String>,
    pub(crate) source: Option<String>,
}

impl Written {
    pub(crate) fn new(document: &Document<'_>) -> Self {
        Self {
            id: document.id.as_deref().map(str::to_owned),
            title: document.title.as_deref().map(str::to_owned),
            text: document.text.to_string(),
            year: document.year,
            mesh_terms: document
                .mesh_terms
                .iter()
                .map(|term| term.to_string())
                .collect(),
            source: document.source.map(str::to_owned),
        }
    }
}

pub(crate) fn run(
    inputs: &[&Path],
    recipe: &Recipe,
    dedup: Option<&DedupConfig>,
    n_samples: usize,
) -> Expected {
    let rules = recipe.build_rules().unwrap();
    let mut counts = RuleCounts::new(&rules, n_samples);
    let limit = BrokenLimit {
        max_share: 1.0,
        ..BrokenLimit::default()
    };
    let mut broken = BrokenCount::new(limit);
    let mut n_skipped = 0;
    let mut kept = Vec::new();
    let sources = Sources::list(inputs, SourceOptions::default()).unwrap();
    let files = sources.files().to_vec();
    for block in sources.blocks() {
        let block = block.unwrap();
        let file = files.iter().position(|file| file == block.path()).unwrap();
        let mut documents = block.documents();
        for document in documents.by_ref() {
            let Some(document) = broken.check(document) else {
                continue;
            };
            if let Outcome::Kept(document) = rules.apply_counted(document, file as u32, &mut counts)
            {
                kept.push(Written::new(&document));
            }
        }
        n_skipped += documents.n_skipped();
    }
    let clusters = dedup.map(|dedup| clusters(&kept, dedup));
    let n_exact = clusters.as_ref().map_or(0, Clusters::n_exact);
    let n_kept = clusters
        .as_ref()
        .map_or(kept.len() as u64, Clusters::n_kept);
    let n_near = kept.len() as u64 - n_kept - n_exact;
    let stays = |at: usize| clusters.as_ref().is_none_or(|c| !c.is_dropped(at as u64));
    let written = kept.iter().enumerate().filter(|(at, _)| stays(*at));
    Expected {
        n_records: broken.n_records(),
        n_broken: broken.n_broken(),
        n_skipped,
        rules: counts,
        n_exact,
        n_near,
        written: written.map(|(_, document)| document.clone()).collect(),
    }
}

/// The lines that one machine writes.
pub(crate) fn lines(documents: &[Written], folder: &Path) -> Vec<String> {
    let path = folder.join("one-machine.jsonl");
    let mut writer = RecordWriter::create(&path, WriteOptions::default()).unwrap();
    for written in documents {
        let document = Document {
            number: 1,
            id: written.id.as_deref().map(Cow::Borrowed),
            title: written.title.as_deref().map(Cow::Borrowed),
            text: Cow::Borrowed(&written.text),
            year: written.year,
            mesh_terms: written
                .mesh_terms
                .iter()
                .map(|term| Cow::Borrowed(term.as_str()))
                .collect(),
            source: written.source.as_deref(),
        };
        writer.write(&document).unwrap();
    }
    writer.finish().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn clusters(documents: &[Written], config: &DedupConfig) -> Clusters {
    let fingerprinter = Fingerprinter::new(config).unwrap();
    let mut duplicates = Duplicates::new(config, None).unwrap();
    for document in documents {
        let facts = DocumentFacts {
            n_bytes: document.text.len() as u64,
            year: document.year,
        };
        duplicates
            .push(&fingerprinter.fingerprint(&document.text), facts)
            .unwrap();
    }
    duplicates.finish().unwrap()
}

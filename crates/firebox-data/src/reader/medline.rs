//! MEDLINE XML: the citations that PubMed distributes, one at a time.

use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use super::ReadOptions;
use super::convert::{record_error, record_of_document};
use crate::source::{
    BlockFile, Boundary, BufferPool, CitationDocuments, Cutter, MedlinePiece, Sizes, SourceOptions,
    opens_set,
};
use crate::{DataError, Place, PlaceUnit, TextRecord};

/// Size of the pieces: the records of one are held.
const BLOCK_BYTES: usize = 1 << 18;

/// Reads the citations of a `<PubmedArticleSet>` that have an abstract.
///
/// Each becomes a [`TextRecord`]: PMID, title, abstract (its sections joined by a space), year of
/// publication and MeSH descriptors. The file streams: only some citations are held. The document type
/// is not fetched and entities that it would define are refused, so no file makes the reader open or
/// expand anything. Malformed XML ends the reading with an error.
///
/// Source: <https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html>.
pub struct MedlineReader<R> {
    cutter: Cutter<R>,
    file: Arc<BlockFile>,
    ready: VecDeque<Result<TextRecord, DataError>>,
    /// Whether there is a `<PubmedArticleSet>`, once that is known.
    has_set: Option<bool>,
    n_skipped: u64,
    is_done: bool,
}

impl<R: BufRead> MedlineReader<R> {
    /// Reads from any buffered input; `path` is what error messages call it.
    pub fn new(input: R, path: impl AsRef<Path>, options: ReadOptions) -> Self {
        let sizes = Sizes {
            block_bytes: BLOCK_BYTES,
            max_record_bytes: options.max_record_bytes,
        };
        let file = BlockFile {
            path: path.as_ref().to_path_buf(),
            options: SourceOptions::from(options),
        };
        Self {
            cutter: Cutter::new(input, Boundary::Citation, sizes, &BufferPool::default()),
            file: Arc::new(file),
            ready: VecDeque::new(),
            has_set: None,
            n_skipped: 0,
            is_done: false,
        }
    }

    /// How many citations so far had no abstract. They are counted some records ahead.
    #[must_use]
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    /// Reads and parses the next citations.
    fn refill(&mut self) -> Option<()> {
        let cut = match self.cutter.next()? {
            Ok(cut) => cut,
            Err(source) => {
                let place = Place {
                    path: self.file.path.clone(),
                    unit: PlaceUnit::Record,
                    number: self.cutter.number(),
                };
                self.stop(DataError::Read { place, source });
                return Some(());
            }
        };
        let Some(bytes) = &cut.bytes else {
            let error = self.file.too_large(PlaceUnit::Record, cut.number);
            self.stop(record_error(error));
            return Some(());
        };
        let is_first = self.has_set.is_none();
        let piece = MedlinePiece {
            offset: cut.offset,
            is_first,
            is_last: cut.is_last,
            has_set: *self.has_set.get_or_insert_with(|| opens_set(bytes)),
        };
        let file = Arc::clone(&self.file);
        let mut citations = CitationDocuments::new(bytes, cut.number, piece, &file);
        for document in &mut citations {
            match document {
                Ok(document) => self.ready.push_back(Ok(record_of_document(document))),
                Err(broken) => {
                    self.stop(record_error(broken));
                    break;
                }
            }
        }
        self.n_skipped += citations.n_skipped();
        Some(())
    }

    fn stop(&mut self, error: DataError) {
        self.is_done = true;
        self.ready.push_back(Err(error));
    }
}

impl<R: BufRead> Iterator for MedlineReader<R> {
    type Item = Result<TextRecord, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if self.is_done {
                return None;
            }
            self.refill()?;
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests;

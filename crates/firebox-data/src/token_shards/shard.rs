//! One file of token ids.

use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::header::HEADER_BYTES;
use super::map::MappedFile;
use super::{ShardError, ShardHeader, TokenSlice, Vocabulary};

/// One file of token ids, mapped into memory: any document without reading the others.
#[derive(Debug)]
pub struct TokenShard {
    path: PathBuf,
    header: ShardHeader,
    file: MappedFile,
}

impl TokenShard {
    /// Opens a shard whose ids are those of a tokenizer. The header is checked, and that the file is
    /// as long as it says; the contents only by [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`ShardError::Read`], [`ShardError::Header`], [`ShardError::Offsets`], and
    /// [`ShardError::OtherTokenizer`].
    pub fn open(path: impl AsRef<Path>, vocabulary: &Vocabulary) -> Result<Self, ShardError> {
        let shard = Self::inspect(path)?;
        check_vocabulary(&shard.path, vocabulary, &shard.header.vocabulary)?;
        Ok(shard)
    }

    /// Opens a shard of whatever tokenizer, to look at it.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for the tokenizer.
    pub fn inspect(path: impl AsRef<Path>) -> Result<Self, ShardError> {
        let path = path.as_ref().to_path_buf();
        let file = match MappedFile::open(&path) {
            Ok(file) => file,
            Err(source) => return Err(ShardError::Read { path, source }),
        };
        let bytes = file.unchanged_bytes(&path)?;
        let header = match ShardHeader::parse(bytes, bytes.len() as u64) {
            Ok(header) => header,
            Err(fault) => return Err(ShardError::Header { path, fault }),
        };
        let shard = Self { path, header, file };
        let bytes = shard.bytes()?;
        let (first, last) = (
            shard.offset(bytes, 0),
            shard.offset(bytes, header.n_documents),
        );
        if (first, last) != (0, header.n_tokens) {
            return Err(shard.bad_offsets(0, first, last));
        }
        Ok(shard)
    }

    /// What the file holds.
    #[must_use]
    pub fn header(&self) -> &ShardHeader {
        &self.header
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens of a document, where they lie in the file.
    ///
    /// # Errors
    /// [`ShardError::NoDocument`], [`ShardError::Offsets`] and [`ShardError::Changed`].
    pub fn document(&self, document: u64) -> Result<TokenSlice<'_>, ShardError> {
        let n_documents = self.header.n_documents;
        if document >= n_documents {
            return Err(ShardError::NoDocument {
                document,
                n_documents,
            });
        }
        let bytes = self.bytes()?;
        let (start, end) = (
            self.offset(bytes, document),
            self.offset(bytes, document + 1),
        );
        if start > end || end > self.header.n_tokens {
            return Err(self.bad_offsets(document, start, end));
        }
        self.tokens(start..end)
    }

    /// The tokens at some places of the file, across documents; fewer where the file ends.
    ///
    /// # Errors
    /// [`ShardError::Changed`].
    pub fn tokens(&self, range: Range<u64>) -> Result<TokenSlice<'_>, ShardError> {
        let bytes = self.bytes()?;
        let end = range.end.min(self.header.n_tokens);
        let start = range.start.min(end);
        // The lengths were checked against the file's: nothing here overflows.
        let token_bytes = self.header.token_bytes();
        let at = |token: u64| HEADER_BYTES + token as usize * token_bytes;
        let (_, mask_start, mask_end) = self.header.layout();
        Ok(TokenSlice {
            tokens: &bytes[at(start)..at(end)],
            token_bytes,
            mask: match self.header.has_loss_mask {
                true => Some(&bytes[mask_start as usize..mask_end as usize]),
                false => None,
            },
            first_bit: start as usize,
        })
    }

    /// Reads the whole file and compares its checksum, and the order of its index.
    ///
    /// # Errors
    /// [`ShardError::Checksum`], [`ShardError::Offsets`] and [`ShardError::Changed`].
    pub fn verify(&self) -> Result<(), ShardError> {
        let bytes = self.bytes()?;
        let (expected, found) = (self.header.checksum, xxh3_64(&bytes[HEADER_BYTES..]));
        if expected != found {
            return Err(ShardError::Checksum {
                path: self.path.clone(),
                expected,
                found,
            });
        }
        for document in 0..self.header.n_documents {
            let (start, end) = (
                self.offset(bytes, document),
                self.offset(bytes, document + 1),
            );
            if start > end || end > self.header.n_tokens {
                return Err(self.bad_offsets(document, start, end));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<&[u8], ShardError> {
        self.file.unchanged_bytes(&self.path)
    }

    /// Where a document begins; the place after the last one is the number of tokens.
    fn offset(&self, bytes: &[u8], document: u64) -> u64 {
        let at = self.header.layout().2 as usize + document as usize * 8;
        bytes[at..]
            .first_chunk()
            .map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
    }

    fn bad_offsets(&self, document: u64, start: u64, end: u64) -> ShardError {
        ShardError::Offsets {
            path: self.path.clone(),
            document,
            n_tokens: self.header.n_tokens,
            start,
            end,
        }
    }
}

/// Refuses the ids of another tokenizer.
pub(super) fn check_vocabulary(
    path: &Path,
    expected: &Vocabulary,
    found: &Vocabulary,
) -> Result<(), ShardError> {
    if expected == found {
        return Ok(());
    }
    Err(ShardError::OtherTokenizer {
        path: path.to_path_buf(),
        expected_hash: expected.hash,
        expected_size: expected.size,
        found_hash: found.hash,
        found_size: found.size,
    })
}

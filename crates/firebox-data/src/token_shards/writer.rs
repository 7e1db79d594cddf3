//! Writing token shards.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use super::header::{HEADER_BYTES, token_bytes};
use super::manifest::{ShardEntry, persist, temporary_in};
use super::{ShardError, ShardHeader, ShardManifest, Vocabulary};
use crate::{Example, IGNORE_LABEL};

/// How documents become shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShardConfig {
    /// A shard is closed when it has this many tokens; no document is split.
    pub max_shard_tokens: u64,
    /// Whether masks are written, a bit a token. Without, there is loss on every token.
    pub with_loss_mask: bool,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            max_shard_tokens: 1 << 28,
            with_loss_mask: false,
        }
    }
}

/// Writes documents of token ids into the shards of a folder. Each shard appears whole under its
/// name, and the list that makes the folder readable when all are there.
#[derive(Debug)]
pub struct TokenShardWriter {
    folder: PathBuf,
    vocabulary: Vocabulary,
    config: ShardConfig,
    open: Option<OpenShard>,
    closed: Vec<ShardEntry>,
    n_documents: u64,
}

/// The shard that is being written.
#[derive(Debug)]
struct OpenShard {
    file: BufWriter<NamedTempFile>,
    hash: ContentsHash,
    n_tokens: u64,
    starts: Vec<u64>,
    mask: Vec<u64>,
    buffer: Vec<u8>,
}

/// The hash of what was written, with nothing to show.
struct ContentsHash(Xxh3);

impl std::fmt::Debug for ContentsHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Xxh3")
    }
}

impl TokenShardWriter {
    /// Begins a folder of shards, making it if it is not there. Shards without a list, from a run
    /// that was interrupted, are replaced.
    ///
    /// # Errors
    /// [`ShardError::FolderTaken`], [`ShardError::ZeroSize`] and [`ShardError::Write`].
    pub fn create(
        folder: impl AsRef<Path>,
        vocabulary: Vocabulary,
        config: ShardConfig,
    ) -> Result<Self, ShardError> {
        let folder = folder.as_ref().to_path_buf();
        if config.max_shard_tokens == 0 {
            let name = "max_shard_tokens";
            return Err(ShardError::ZeroSize { name });
        }
        if ShardManifest::path_in(&folder).exists() {
            return Err(ShardError::FolderTaken { folder });
        }
        if let Err(source) = std::fs::create_dir_all(&folder) {
            let path = folder;
            return Err(ShardError::Write { path, source });
        }
        Ok(Self {
            folder,
            vocabulary,
            config,
            open: None,
            closed: Vec::new(),
            n_documents: 0,
        })
    }

    /// Writes a document with loss on every token. A mark that ends documents is the caller's to
    /// append.
    ///
    /// # Errors
    /// [`ShardError::IdOutOfRange`], which leaves the writer as it was, and [`ShardError::Write`].
    pub fn push_ids(&mut self, ids: &[u32]) -> Result<(), ShardError> {
        self.push(ids, None)
    }

    /// Writes a document with its mask.
    ///
    /// # Errors
    /// As [`push_ids`](Self::push_ids); [`ShardError::Labels`], and [`ShardError::MaskNotKept`] if
    /// the config has no masks and the document needs one.
    pub fn push_example(&mut self, example: &Example) -> Result<(), ShardError> {
        let document = self.n_documents;
        let (n_tokens, n_labels) = (example.input_ids.len(), example.labels.len());
        if n_tokens != n_labels {
            let found = format!("{n_labels} labels for {n_tokens} tokens");
            return Err(ShardError::Labels { document, found });
        }
        let pairs = || example.input_ids.iter().zip(&example.labels);
        let is_own = |id: u32, label: i64| label == IGNORE_LABEL || label == i64::from(id);
        if let Some((id, label)) = pairs().find(|&(&id, &label)| !is_own(id, label)) {
            let found = format!("label {label} on token {id}");
            return Err(ShardError::Labels { document, found });
        }
        if !self.config.with_loss_mask && example.labels.contains(&IGNORE_LABEL) {
            return Err(ShardError::MaskNotKept { document });
        }
        self.push(&example.input_ids, Some(&example.labels))
    }

    /// Closes the last shard and writes the list.
    ///
    /// # Errors
    /// [`ShardError::Write`].
    pub fn finish(mut self) -> Result<ShardManifest, ShardError> {
        if self.open.is_some() || self.closed.is_empty() {
            self.close_shard()?;
        }
        let manifest = ShardManifest {
            vocab_size: self.vocabulary.size,
            vocab_hash: format!("{:016x}", self.vocabulary.hash),
            n_documents: self.closed.iter().map(|shard| shard.n_documents).sum(),
            n_tokens: self.closed.iter().map(|shard| shard.n_tokens).sum(),
            shards: self.closed,
        };
        manifest.write(&self.folder)?;
        Ok(manifest)
    }

    fn push(&mut self, ids: &[u32], labels: Option<&[i64]>) -> Result<(), ShardError> {
        let vocab_size = self.vocabulary.size;
        if let Some(&id) = ids.iter().find(|&&id| u64::from(id) >= vocab_size) {
            return Err(ShardError::IdOutOfRange {
                document: self.n_documents,
                id,
                vocab_size,
            });
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin_shard()?,
        };
        if self.config.with_loss_mask {
            open.push_mask(ids.len(), labels);
        }
        let written = open.push_ids(ids, token_bytes(vocab_size));
        written.map_err(|source| self.write_error(source))?;
        self.n_documents += 1;
        let is_full = open.n_tokens >= self.config.max_shard_tokens;
        self.open = Some(open);
        if is_full { self.close_shard() } else { Ok(()) }
    }

    fn begin_shard(&self) -> Result<OpenShard, ShardError> {
        let begin = || -> io::Result<OpenShard> {
            let mut file = BufWriter::with_capacity(1 << 20, temporary_in(&self.folder)?);
            file.write_all(&[0; HEADER_BYTES])?;
            Ok(OpenShard {
                file,
                hash: ContentsHash(Xxh3::new()),
                n_tokens: 0,
                starts: vec![0],
                mask: Vec::new(),
                buffer: Vec::new(),
            })
        };
        begin().map_err(|source| self.write_error(source))
    }

    fn close_shard(&mut self) -> Result<(), ShardError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin_shard()?,
        };
        let entry = open.close(
            &self.shard_path(),
            self.vocabulary,
            self.config.with_loss_mask,
        );
        let (n_documents, n_tokens, checksum) = entry.map_err(|source| self.write_error(source))?;
        self.closed.push(ShardEntry {
            file: shard_name(self.closed.len()),
            n_documents,
            n_tokens,
            checksum: format!("{checksum:016x}"),
        });
        Ok(())
    }

    fn shard_path(&self) -> PathBuf {
        self.folder.join(shard_name(self.closed.len()))
    }

    fn write_error(&self, source: io::Error) -> ShardError {
        ShardError::Write {
            path: self.shard_path(),
            source,
        }
    }
}

fn shard_name(index: usize) -> String {
    format!("shard-{index:05}.tokens")
}

impl OpenShard {
    fn push_ids(&mut self, ids: &[u32], token_bytes: usize) -> io::Result<()> {
        self.buffer.clear();
        for id in ids {
            self.buffer
                .extend_from_slice(&id.to_le_bytes()[..token_bytes]);
        }
        self.n_tokens += ids.len() as u64;
        self.starts.push(self.n_tokens);
        self.hash.0.update(&self.buffer);
        self.file.write_all(&self.buffer)
    }

    /// The bits of the tokens that are about to be written.
    fn push_mask(&mut self, n_tokens: usize, labels: Option<&[i64]>) {
        for token in 0..n_tokens {
            let bit = self.n_tokens as usize + token;
            if bit.is_multiple_of(64) {
                self.mask.push(0);
            }
            let has_loss = labels.is_none_or(|labels| labels[token] != IGNORE_LABEL);
            if let Some(word) = self.mask.last_mut() {
                *word |= u64::from(has_loss) << (bit % 64);
            }
        }
    }

    /// Writes what comes behind the tokens, then the header, and gives the file its name.
    fn close(
        mut self,
        path: &Path,
        vocabulary: Vocabulary,
        has_loss_mask: bool,
    ) -> io::Result<(u64, u64, u64)> {
        let tokens_bytes = self.n_tokens as usize * token_bytes(vocabulary.size);
        let mut rest = vec![0; tokens_bytes.next_multiple_of(8) - tokens_bytes];
        for word in self.mask.iter().chain(&self.starts) {
            rest.extend_from_slice(&word.to_le_bytes());
        }
        self.hash.0.update(&rest);
        self.file.write_all(&rest)?;
        let header = ShardHeader {
            vocabulary,
            n_documents: self.starts.len() as u64 - 1,
            n_tokens: self.n_tokens,
            has_loss_mask,
            checksum: self.hash.0.digest(),
        };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header.to_bytes())?;
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        persist(file, path)?;
        Ok((header.n_documents, header.n_tokens, header.checksum))
    }
}

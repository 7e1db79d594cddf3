//! `shards.json`: the list of a folder's shards, written last.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::ShardError;

/// Name of the list.
const FILE_NAME: &str = "shards.json";

/// The list of a folder's shards. Without it, a folder is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardManifest {
    /// Ids in the vocabulary.
    pub vocab_size: u64,
    /// Hash of the vocabulary, in hexadecimal.
    pub vocab_hash: String,
    /// Documents in all shards.
    pub n_documents: u64,
    /// Tokens in all shards.
    pub n_tokens: u64,
    /// The shards, in order.
    pub shards: Vec<ShardEntry>,
}

/// One shard of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Its file, in the same folder.
    pub file: String,
    /// Its documents.
    pub n_documents: u64,
    /// Its tokens.
    pub n_tokens: u64,
    /// The checksum of its contents, in hexadecimal.
    pub checksum: String,
}

impl ShardManifest {
    /// Where a folder's list is.
    pub(super) fn path_in(folder: &Path) -> PathBuf {
        folder.join(FILE_NAME)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, ShardError> {
        let path = Self::path_in(folder);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = folder.to_path_buf();
                return Err(ShardError::NoManifest { folder });
            }
            Err(source) => return Err(ShardError::Read { path, source }),
        };
        let manifest: Self = match serde_json::from_slice(&json) {
            Ok(manifest) => manifest,
            Err(source) => return Err(ShardError::Manifest { path, source }),
        };
        // A list from elsewhere must not lead out of its folder.
        let is_plain = |file: &str| !file.contains(['/', '\\']) && file != ".." && !file.is_empty();
        match manifest.shards.iter().find(|entry| !is_plain(&entry.file)) {
            None => Ok(manifest),
            Some(entry) => Err(ShardError::OtherShard {
                path,
                what: "the name",
                expected: "of a file in this folder".into(),
                found: entry.file.clone(),
            }),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), ShardError> {
        let path = Self::path_in(folder);
        let write = || {
            let mut file = temporary_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            persist(file, &path)
        };
        write().map_err(|source| ShardError::Write {
            path: path.clone(),
            source,
        })
    }
}

/// A file without a name of its own, that others may read once it has one.
pub(super) fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // Less the umask.
    builder.tempfile_in(folder)
}

/// Gives a temporary file its name, once its bytes are on the disk.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
